/**
 * Looks again and again whether accelerated images can run on this node: the parts of doctor that an agent sees from a pod, where the
 * node's files are below a root and the cache is its own.
 */
import { asAccelError } from '../../../base/error.ts';
import type { Config } from '../../config/schema.ts';
import { checkDisk } from './check-disk.ts';
import { checkFiles, checkOverlaybd } from './check-runtimes.ts';
import type { Check } from './node-check.ts';
import { reasonOf } from './probe.ts';
import { RootedFiles } from './rooted-files.ts';

/** The result of a look. A part of GET /api/v1/agent. */
export interface NodeFitness {
  /** Whether accelerated images can run here. */
  readonly fit: boolean;
  /** Why not; null for a node that is fit. At most 500 characters. */
  readonly reason: string | null;
  /** When the look ended, RFC 3339. */
  readonly checked: string;
}

/** Settings of the looks. */
export interface FitnessOptions {
  /** Milliseconds between two looks. */
  readonly every: number;
  /** Milliseconds of one look; the node counts as unfit when it has not ended by then. */
  readonly deadline?: number;
  /** Called with each change of what was found. */
  readonly onChange?: (found: NodeFitness) => void;
}

/** Milliseconds of one look. */
const DEADLINE = 30_000;
/** Milliseconds between two looks at the least. */
const LEAST_WAIT = 1_000;
const MAX_REASON = 500;

/** Looks once; undefined for a node that is fit, else what is wrong. Never throws. */
export async function findUnfitness(config: Config, root: string): Promise<string | undefined> {
  try {
    const examined = { config, files: await RootedFiles.open(root), canary: undefined };
    // The cache is a folder of the agent's own root, also in a pod.
    const own = { ...examined, files: await RootedFiles.open('/') };
    const checks = [await checkFiles(examined), await checkDisk(own), await checkOverlaybd(examined)].flat();
    const missing = checks.filter(({ name, status }) => name === 'overlaybd' && status === 'skipped');
    const wrong = [...missing, ...checks.filter(({ status }) => status === 'failed')];
    return wrong.length === 0 ? undefined : wrong.map(textOf).join('; ').slice(0, MAX_REASON);
  } catch (error) {
    const { message, where } = asAccelError(error);
    return [message, ...Object.values(where)].join(' ').slice(0, MAX_REASON);
  }
}

function textOf({ name, found }: Check): string {
  return `${name}: ${found}`;
}

/** Looks at the start and then every so often, until it is closed. */
export class FitnessWatch {
  readonly #options: FitnessOptions;
  readonly #find: () => Promise<string | undefined>;
  #latest: NodeFitness | undefined;
  #running: Promise<string | undefined> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** Begins to look. `find`: one look. */
  constructor(options: FitnessOptions, find: () => Promise<string | undefined>) {
    this.#options = options;
    this.#find = find;
    void this.#look();
  }

  /** The result of the last look; undefined before the first has ended. */
  get latest(): NodeFitness | undefined {
    return this.#latest;
  }

  /** Ends it. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const { every, onChange } = this.#options;
    const reason = (await this.#within()) ?? null;
    if (this.#isClosed) return;
    const before = this.#latest;
    this.#latest = { fit: reason === null, reason, checked: new Date().toISOString() };
    if (before?.reason !== reason) onChange?.(this.#latest);
    this.#timer = setTimeout(() => void this.#look(), Math.max(every, LEAST_WAIT)).unref();
  }

  /** One look that ends in time. One that hangs, as on a disk that does not answer, is waited for and not started a second time. */
  async #within(): Promise<string | undefined> {
    const { deadline = DEADLINE } = this.#options;
    this.#running ??= this.#find()
      .catch(reasonOf)
      .finally(() => {
        this.#running = undefined;
      });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(
        () => resolve(`the look at the node did not end within ${deadline / 1000} s`),
        deadline,
      ).unref();
    });
    return Promise.race([this.#running, late]).finally(() => clearTimeout(timer));
  }
}
