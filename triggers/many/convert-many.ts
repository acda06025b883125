/** Converts many images in one process: bounded, in the order of the list, and to the end whatever becomes of one. */
import { setMaxListeners } from 'node:events';
import { awaitAll } from '../../base/limiter.ts';
import { SharedRun } from '../../converter/shared-run.ts';
import { BUDGET_EXCEEDED } from '../../formats/ext4/state/memory-budget.ts';
import { TAG_SUFFIXES } from '../../formats/overlaybd/tag-suffixes.ts';
import { convertOne, type ImageRun, lackedMemory } from './convert-one.ts';
import type { ImageName, ImageOrder, ImageOutcome, ManyEvent } from './image-orders.ts';
import type { TargetPool } from './target-pool.ts';

/** Settings of a run. */
export interface ManyOptions {
  /** Images at a time. */
  readonly jobs: number;
  /** End the run at the first failure: nothing more is started, and what runs is interrupted. */
  readonly failFast: boolean;
  /** Read manifests alone, and write nothing. */
  readonly dryRun: boolean;
  /** Uploads in flight, compress threads, and bytes of memory of all images together. */
  readonly uploads: number;
  readonly workers: number;
  readonly maxMemory?: number | undefined;
  readonly signal: AbortSignal;
  readonly onEvent: (event: ManyEvent) => void;
  readonly warn: (message: string) => void;
}

/**
 * Converts the images; `pool` stays open. Resolves with an outcome for each, in their order, also when the signal ends the
 * run: the rest is `interrupted` or `not-started` then. Throws `usage` for too little memory, before any work.
 */
export async function convertMany(
  orders: readonly ImageOrder[],
  pool: TargetPool,
  options: ManyOptions,
): Promise<ImageOutcome[]> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  // Every image in progress listens to both: dozens of listeners are not a leak.
  setMaxListeners(0, signal, options.signal);
  const { jobs: images, uploads, workers, maxMemory, warn } = options;
  // By the caller's signal: a failure that ends the run is no reason to lose the record of layers.
  const shared = new SharedRun({ images, uploads, workers, maxMemory, signal: options.signal, warn });
  const run: ImageRun = {
    pool,
    shared,
    dryRun: options.dryRun,
    signal,
    proven: new Set(),
    onEvent: (order, event) => options.onEvent({ type: 'image-event', order, event }),
  };
  try {
    return await new ManyRun(orders, run, { ...options, stop: () => stop.abort() }).outcomes();
  } finally {
    await shared.close();
  }
}

/** The progress of a run. */
class ManyRun {
  readonly #orders: readonly ImageOrder[];
  readonly #run: ImageRun;
  readonly #options: ManyOptions & { readonly stop: () => void };
  readonly #outcomes = new Map<ImageName, ImageOutcome>();
  /** The images that have been started, by reference. */
  readonly #started = new Map<string, Promise<ImageOutcome>>();
  /** Images to convert again when nothing runs beside them. */
  readonly #alone: ImageOrder[] = [];

  constructor(orders: readonly ImageOrder[], run: ImageRun, options: ManyOptions & { readonly stop: () => void }) {
    this.#orders = orders;
    this.#run = run;
    this.#options = options;
  }

  async outcomes(): Promise<ImageOutcome[]> {
    // Tags named like results come after the images that they may be made of: by then they are known, and cost nothing.
    const queue = [...this.#orders].sort((a, b) => Number(isResultName(a)) - Number(isResultName(b)));
    const work = async (): Promise<void> => {
      for (let order = queue.shift(); order !== undefined; order = queue.shift()) {
        if (this.#run.signal.aborted) return;
        await this.#begin(order);
      }
    };
    await awaitAll(Array.from({ length: Math.min(this.#options.jobs, queue.length) }, work));
    for (const order of this.#alone) if (!this.#run.signal.aborted) this.#end(await convertOne(order, this.#run));
    return this.#orders.map((order) => this.#outcomes.get(order) ?? notStarted(order));
  }

  async #begin(order: ImageOrder): Promise<void> {
    await this.#basesOf(order);
    this.#options.onEvent({ type: 'image-start', order });
    const converting = convertOne(order, this.#run);
    this.#started.set(order.reference, converting);
    const outcome = await converting;
    if (this.#options.jobs > 1 && lackedMemory(outcome, BUDGET_EXCEEDED)) this.#alone.push(order);
    else this.#end(outcome);
  }

  /** Waits for the images that an order may be the result of. They were started before. */
  async #basesOf({ reference }: ImageOrder): Promise<void> {
    const bases = TAG_SUFFIXES.filter((suffix) => reference.endsWith(suffix)).map((suffix) =>
      reference.slice(0, -suffix.length),
    );
    await awaitAll(bases.map((base) => this.#started.get(base)));
  }

  #end(outcome: ImageOutcome): void {
    this.#outcomes.set(outcome.order, outcome);
    this.#options.onEvent({ type: 'image-done', outcome });
    if (outcome.state === 'failed' && this.#options.failFast) this.#options.stop();
  }
}

function isResultName({ reference }: ImageOrder): boolean {
  return TAG_SUFFIXES.some((suffix) => reference.endsWith(suffix));
}

function notStarted(order: ImageOrder): ImageOutcome {
  return { order, state: 'not-started', tags: [], warnings: [], bytes: { read: 0, reused: 0 }, seconds: 0 };
}
