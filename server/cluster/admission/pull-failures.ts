/** Hears from kubelets' Events that rewritten images cannot be pulled. */

import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';
import { parseImageName, tagOf } from '../rewrite/image-name.ts';
import type { RewriteSettings } from '../rewrite/rewrite-settings.ts';

/** An Event, as far as it is read. */
interface KubeletEvent extends KubeObject {
  readonly message?: string;
  readonly involvedObject?: {
    readonly kind?: string;
    readonly uid?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
}

/** A failure. */
export interface PullFailure {
  readonly mode: 'on-demand' | 'p2p';
  /** The pod, as uid or name. */
  readonly pod: string;
  /** The Event's own namespace, which is as far as the permission to write it goes. */
  readonly namespace: string;
}

/** Kubelet's message (pkg/kubelet/images): the image in quotes, then what the runtime said. */
const MESSAGE = /^Failed to pull image "([^"]+)"(?:: (.*))?/s;
/** The image or its tag does not exist: by its own name it could not be pulled either. */
const NOT_FOUND = /not found|manifest unknown|name unknown|does not exist/i;
/** Milliseconds after which an Event is history: the list at the start has those of an hour. */
const RECENT = 120_000;

/** The mode of a rewritten image, by its name; undefined for one that was not. */
export function modeOfImage(
  text: string,
  { mapped, registries, suffixes }: RewriteSettings,
): PullFailure['mode'] | undefined {
  const image = parseImageName(text);
  if (image === undefined) return undefined;
  if (mapped.has(image.registry)) return 'p2p';
  const tag = tagOf(image) ?? '';
  return registries.has(image.registry) && suffixes.some((suffix) => tag.endsWith(suffix)) ? 'on-demand' : undefined;
}

/** Reads an Event; undefined where it is about something else. */
export function pullFailure(event: KubeletEvent, settings: RewriteSettings, now = Date.now()): PullFailure | undefined {
  const [, image = '', cause = ''] = MESSAGE.exec(event.message ?? '') ?? [];
  const { kind, uid, namespace, name } = event.involvedObject ?? {};
  const time = Date.parse(event.lastTimestamp ?? event.eventTime ?? '');
  if (image === '' || kind !== 'Pod' || NOT_FOUND.test(cause) || (!Number.isNaN(time) && now - time > RECENT))
    return undefined;
  const mode = modeOfImage(image, settings);
  return mode && { mode, pod: uid ?? `${namespace}/${name}`, namespace: event.metadata.namespace ?? '' };
}

/** Watches Events of kubelets that report failures, and calls `onFailure` for each of a rewritten image. */
export function watchPullFailures(
  client: KubeClient,
  settings: RewriteSettings,
  onFailure: (failure: PullFailure) => void,
  more: { readonly log: (line: string) => void; readonly onRestart: (reason: WatchRestart) => void },
): KubeWatch<PullFailure & { readonly version: string }> {
  return new KubeWatch(client, {
    resource: RESOURCES.events,
    fieldSelector: 'reason=Failed,involvedObject.kind=Pod',
    project: (object) => {
      const failure = pullFailure(object, settings);
      return failure && { ...failure, version: object.metadata.resourceVersion ?? '' };
    },
    onChange: (_, now, before) => {
      // A list after a broken watch repeats what was heard.
      if (now !== undefined && now.version !== before?.version) onFailure(now);
    },
    ...more,
  });
}
