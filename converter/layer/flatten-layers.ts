/**
 * Makes one layer of several. Their tars are read twice: first for names and attributes, then, of the layers that have any
 * left, for the content of the files that no upper layer replaced or deleted. So nothing that is gone is stored, neither in
 * the layer nor in temporary files, and memory does not grow with the content.
 */
import { withPlace } from '../../base/error.ts';
import type { Ext4Image } from '../../formats/ext4/ext4-image.ts';
import { SurveyedContent } from '../../formats/ext4/surveyed-content.ts';
import type { LayerId } from '../events.ts';
import type { LayerEngine } from './engines/engine.ts';
import type { ImageJob } from './image-job.ts';
import { type LayerGroup, sourcesOf } from './layer-groups.ts';
import { commitLayer, OpenLayer, type Reading } from './read-layer.ts';

/** Layers to flatten. */
export interface FlattenJob {
  readonly job: ImageJob;
  readonly group: LayerGroup;
  /** Names the result in events. */
  readonly layer: LayerId;
  /** The state after the layers below; it includes the group when the job is done. */
  readonly image: Ext4Image;
  /** Makes the blob; the caller finishes and closes it. */
  readonly engine: LayerEngine;
}

/** A reading of one of the layers. */
interface Pass {
  /** Position of the layer in the source. */
  readonly at: number;
  readonly reading: Reading;
}

/** Reads the layers into the state and the engine. Returns the number of entries of their tars. */
export async function flattenLayers(flatten: FlattenJob): Promise<number> {
  const { job, group, layer, image, engine } = flatten;
  const { signal, emit } = job.session;
  emit({ type: 'layer-start', layer });
  const passes = new Passes(flatten);
  const surveys = sourcesOf(job.source, group).map((_, i) => ({
    at: group.first + i,
    content: new SurveyedContent(image),
  }));
  const entries = await passes.read(surveys.map(({ at, content }) => ({ at, reading: { kind: 'survey', content } })));
  for (const { content } of surveys) content.prune();
  const left = surveys.filter(({ content }) => content.files > 0);
  await passes.read(left.map(({ at, content }) => ({ at, reading: { kind: 'store', content } })));
  await commitLayer({ image, engines: [engine] }, signal);
  emit({ type: 'layer-progress', layer, bytesRead: layer.size });
  return entries;
}

/** Reads layers one after another, each fetched while the one before it is decompressed. */
class Passes {
  readonly #flatten: FlattenJob;
  #bytesRead = 0;

  constructor(flatten: FlattenJob) {
    this.#flatten = flatten;
  }

  /** Reads them in turn. Returns the number of their entries. */
  async read(passes: readonly Pass[]): Promise<number> {
    let entries = 0;
    let ahead: Promise<OpenLayer> | undefined;
    // Ends also what is being opened: its source may send nothing for long.
    const over = new AbortController();
    const start = (pass: Pass | undefined, after?: OpenLayer): void => {
      if (over.signal.aborted) return;
      ahead = pass === undefined ? undefined : this.#open(pass, over.signal, after);
      // Its failure is reported in its turn.
      ahead?.catch(() => undefined);
    };
    start(passes[0]);
    try {
      for (const [i, pass] of passes.entries()) {
        const opened = ahead!;
        ahead = undefined;
        entries += await this.#apply(pass, opened, (layer) => start(passes[i + 1], layer));
      }
    } finally {
      over.abort();
      await ahead?.then(
        (opened) => opened.close(),
        () => undefined,
      );
    }
    return entries;
  }

  async #apply(
    { at, reading }: Pass,
    opening: Promise<OpenLayer>,
    onFetched: (layer: OpenLayer) => void,
  ): Promise<number> {
    const { job, image, engine } = this.#flatten;
    const { session, source } = job;
    try {
      const opened = await opening;
      const applied = await opened.apply({
        maxSize: session.request.artifact.maxLayerSize,
        diffId: source.config.rootfs.diff_ids[at]!,
        image,
        engines: [engine],
        reading,
        onFetched: () => onFetched(opened),
      });
      return applied.entries;
    } catch (error) {
      const { layers } = source.manifest;
      throw withPlace(error, { layer: `${at + 1} of ${layers.length}`, digest: layers[at]!.digest });
    }
  }

  #open({ at, reading }: Pass, over: AbortSignal, after: OpenLayer | undefined): Promise<OpenLayer> {
    const { job, layer } = this.#flatten;
    const { session, source } = job;
    const { resources, signal, emit } = session;
    return OpenLayer.open({
      source: session.source,
      descriptor: source.manifest.layers[at]!,
      span: undefined,
      mustIndex: false,
      threads: resources.threads,
      after: after?.decompressed,
      signal: AbortSignal.any([signal, over]),
      onRead: (bytes) => {
        this.#bytesRead += bytes;
        // Each byte of the source is read twice, and less often where nothing of a layer is left.
        emit({ type: 'layer-progress', layer, bytesRead: Math.floor(this.#bytesRead / 2) });
      },
      onWarning(message, path) {
        if (reading.kind === 'survey')
          emit({ type: 'warning', message, layer, ...(path === undefined ? {} : { path }) });
      },
    });
  }
}
