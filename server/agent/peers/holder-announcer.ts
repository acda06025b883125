/** Says to trackers which blobs this node has whole: those of the runtime's content store, and those of its own cache. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Limiter } from '../../../base/limiter.ts';
import { pieceCount } from '../../../formats/piece-list/piece-list.ts';
import type { Manifests } from '../manifests.ts';
import type { PieceStore } from '../pieces/store.ts';
import type { ContentStore } from './holder.ts';
import type { Swarms } from './swarms.ts';
import { HOLDER_TTL } from './tracker.ts';

/** Milliseconds between two looks at what is there. */
const LOOK_EVERY = 30_000;
/** Milliseconds after which a blob is announced again. */
const REPEAT_AFTER = (HOLDER_TTL * 1000) / 2;
/** Announcements at once. */
const AT_ONCE = 8;

/** Parts and settings of {@link HolderAnnouncer}. */
export interface AnnouncerOptions {
  readonly content: ContentStore | undefined;
  readonly store: PieceStore;
  readonly swarms: Swarms;
  readonly manifests: Manifests;
}

/** See the head of the file. */
export class HolderAnnouncer {
  readonly #o: AnnouncerOptions;
  /** When, and to which trackers. */
  readonly #announced = new Map<string, { readonly at: number; readonly to: string }>();

  constructor(options: AnnouncerOptions) {
    this.#o = options;
  }

  /** Announces until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.announce(signal).catch(() => undefined);
      await sleep(LOOK_EVERY, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** Announces what is whole and was not announced lately. */
  async announce(signal: AbortSignal): Promise<void> {
    const { content, store, manifests, swarms } = this.#o;
    const whole = new Set((await content?.list()) ?? []);
    for (const [digest, pieces] of store.blobs()) {
      const size = manifests.size(digest);
      if (size !== undefined && pieces === pieceCount(size)) whole.add(digest);
    }
    const now = performance.now();
    for (const digest of this.#announced.keys()) if (!whole.has(digest)) this.#announced.delete(digest);
    const due = [...whole].filter((digest) => {
      const last = this.#announced.get(digest);
      return last === undefined || now - last.at > REPEAT_AFTER || last.to !== swarms.trackersOf(digest);
    });
    const limiter = new Limiter(AT_ONCE);
    await Promise.all(
      due.map((digest) =>
        limiter.run(async () => {
          if (signal.aborted) return;
          const to = swarms.trackersOf(digest);
          if (await swarms.announce(digest, signal)) this.#announced.set(digest, { at: now, to });
        }),
      ),
    );
  }
}
