/** An outcome as the outputs of the step, and as the document that `json` and the web hook carry. */
import { createHash } from 'node:crypto';
import { JSON_FORMAT_VERSION, resultRecord } from '../cli/progress/json.ts';
import type { Notice } from '../notify/notify.ts';
import type { Outcome, ReportedTag } from './outcome.ts';

/** Hexadecimal digits of a delivery. */
const DELIVERY_DIGITS = 32;

/** The names of the outputs, as action.yml declares them. */
export const OUTPUT_NAMES = [
  'event',
  'reason',
  'tags',
  'digest',
  'containerd-digest',
  'size',
  'ratio',
  'json',
] as const;

/** The outputs; what does not apply is an empty text. */
export function outputsOf(outcome: Outcome): Record<(typeof OUTPUT_NAMES)[number], string> {
  const { decision, tags, repository } = outcome;
  const [first] = tags;
  return {
    event: decision.event,
    reason: decision.reason,
    tags: tags.map(({ tag }) => `${repository}:${tag}`).join('\n'),
    digest: first?.digest ?? '',
    'containerd-digest': tags.find(({ kind }) => kind === 'containerd')?.digest ?? '',
    size: first === undefined ? '' : String(first.size),
    ratio: first?.ratio === undefined ? '' : first.ratio.toFixed(4),
    json: JSON.stringify(outcomeDocument(outcome)),
  };
}

/** Everything that is known, without manifests and without secrets. */
export function outcomeDocument({ decision, repository, tags, result }: Outcome): Record<string, unknown> {
  return {
    formatVersion: JSON_FORMAT_VERSION,
    event: decision.event,
    reason: decision.reason,
    ...(decision.event === 'skipped' ? { code: decision.code, tag: decision.tag } : {}),
    repository,
    tags: tags.map((tag) => tagRecord(repository, tag)),
    ...(result === undefined ? {} : { result: resultRecord(result, false) }),
  };
}

/**
 * The message to the web hook: as much as a receiver needs to pull the image. The delivery is the same for the same images,
 * whatever this run verified of them.
 */
export function noticeOf({ decision, repository, tags }: Outcome): Notice {
  const { event } = decision;
  const images = tags.map(({ start: _, ...tag }) => tagRecord(repository, tag));
  const what = JSON.stringify([event, images.map(({ reference }) => reference)]);
  return {
    delivery: createHash('sha256').update(what).digest('hex').slice(0, DELIVERY_DIGITS),
    document: { formatVersion: JSON_FORMAT_VERSION, event, repository, tags: images },
  };
}

function tagRecord(repository: string | undefined, tag: ReportedTag): Record<string, unknown> {
  const { verification, start, upToDate: _, ...rest } = tag;
  return {
    reference: `${repository}:${tag.tag}@${tag.digest}`,
    ...rest,
    ...(start === undefined ? {} : { start }),
    verified: verification === undefined ? null : 'impossible' in verification ? null : verification.identical,
  };
}
