/** Digests of tags that a scan has seen, for scans that report changes only. Bounded: the oldest are forgotten, and count as changed. */

/** Most tags that are remembered; about 40 MB. */
const MAX_TAGS = 200_000;

/** A memory between scans of one process. */
export class SeenDigests {
  readonly #digests = new Map<string, string>();
  readonly #limit: number;

  constructor(limit: number = MAX_TAGS) {
    this.#limit = limit;
  }

  /** The digest that an image had; undefined where it is not known. */
  get(image: string): string | undefined {
    return this.#digests.get(image);
  }

  /** Remembers an image; for one whose event is stored. */
  set(image: string, digest: string): void {
    this.#digests.delete(image);
    this.#digests.set(image, digest);
    const [oldest] = this.#digests.keys();
    if (this.#digests.size > this.#limit && oldest !== undefined) this.#digests.delete(oldest);
  }
}
