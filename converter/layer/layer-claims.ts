/**
 * Keeps conversions of one process from converting the same layer twice: the first that lacks a layer claims it, and the
 * others wait until it is recorded. Nobody waits while holding a claim, so nobody waits for ever.
 */

/** A claim of layers. */
export interface Claim {
  /** Ends the claim of one layer: it is recorded, or will not be. May be called again. */
  release(key: string): void;
  /** Ends all that is left. */
  releaseAll(): void;
}

/** The claims of one record of layers. */
export class LayerClaims {
  readonly #held = new Map<string, { readonly ended: Promise<void>; readonly end: () => void }>();

  /** Resolves when the claims of others on these layers have ended; undefined without such claims. */
  pending(keys: readonly string[]): Promise<void> | undefined {
    const held = keys.flatMap((key) => this.#held.get(key)?.ended ?? []);
    return held.length === 0 ? undefined : Promise.all(held).then(() => undefined);
  }

  /** Claims those of the layers that nobody else has claimed. */
  claim(keys: readonly string[]): Claim {
    const own = new Set(keys.filter((key) => !this.#held.has(key)));
    for (const key of own) {
      const { promise: ended, resolve: end } = withResolvers();
      this.#held.set(key, { ended, end });
    }
    const release = (key: string): void => {
      if (!own.delete(key)) return;
      const { end } = this.#held.get(key)!;
      this.#held.delete(key);
      end();
    };
    return { release, releaseAll: () => [...own].forEach(release) };
  }
}

/** Node 20 has no Promise.withResolvers. */
function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
