/** Fetches and decompresses the next layer of an image while the one before it is completed. */
import { type ImageJob, layerIdOf } from './image-job.ts';
import { isFlattened } from './layer-groups.ts';
import { OpenLayer } from './read-layer.ts';
import { recordedSpan } from './startup/startup-layout.ts';

/** A layer on its way. */
export interface StartedLayer {
  readonly opened: Promise<OpenLayer>;
  /** When it was started, by `performance.now()`. */
  readonly started: number;
  /** Ends it while it is being opened: the source may send nothing for long. */
  readonly giveUp: AbortController;
}

/** At most one layer that is read ahead: fetched while the one before it is decompressed, then decompressed while that is completed. */
export class NextLayer {
  readonly #job: ImageJob;
  #next: StartedLayer | undefined;
  #closed = false;

  constructor(job: ImageJob) {
    this.#job = job;
  }

  /**
   * Starts a layer, if the image has one to read once at this position; with access points for `isIndexed`. It is decompressed when
   * `after` is: the layer before it, if that is being read.
   */
  start(index: number, isIndexed: boolean, after?: OpenLayer): void {
    const { session, source, kinds, groups } = this.#job;
    const group = groups[index];
    if (this.#closed || group === undefined || isFlattened(group)) return;
    const { resources, signal, request, emit } = session;
    const layer = layerIdOf(this.#job, index);
    // Threads start while the first bytes are on their way.
    resources.threads.warmUp(layer.size);
    emit({ type: 'layer-start', layer });
    let bytesRead = 0;
    const giveUp = new AbortController();
    const descriptor = source.manifest.layers[group.first]!;
    const opened = OpenLayer.open({
      source: session.source,
      descriptor,
      span: isIndexed ? recordedSpan(request.artifact, descriptor.size) : undefined,
      mustIndex: kinds.has('index-only'),
      threads: resources.threads,
      after: after?.decompressed,
      signal: AbortSignal.any([signal, giveUp.signal]),
      onRead(bytes) {
        bytesRead += bytes;
        emit({ type: 'layer-progress', layer, bytesRead });
      },
      onWarning: (message, path) => emit({ type: 'warning', message, layer, ...(path === undefined ? {} : { path }) }),
    });
    // Its failure is reported in its turn; if a layer below fails first, that failure is reported instead.
    opened.catch(() => undefined);
    this.#next = { opened, started: performance.now(), giveUp };
  }

  /** The started layer. */
  get current(): StartedLayer {
    return this.#next!;
  }

  /** Leaves the started layer to the caller, who closes it. */
  handOver(): void {
    this.#next = undefined;
  }

  /** Ends reading a layer that was not handed over, also where its source does not answer. */
  async close(): Promise<void> {
    const next = this.#next;
    this.#next = undefined;
    this.#closed = true;
    next?.giveUp.abort();
    await next?.opened.then(
      (layer) => layer.close(),
      () => undefined,
    );
  }
}
