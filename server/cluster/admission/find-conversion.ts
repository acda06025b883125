/** Finds the accelerated image of an image in its repository, and whether it was made from what the image is now. */
import { LRUCache } from 'lru-cache';
import { AccelError, asAccelError } from '../../../base/error.ts';
import { Limiter } from '../../../base/limiter.ts';
import { decodeRecord } from '../../../converter/publish/record-annotations.ts';
import type { Descriptor } from '../../../oci/descriptor.ts';
import { loadDocument, unlessMissing } from '../../../oci/document.ts';
import { canListTags, canRefer } from '../../../oci/powers.ts';
import type { Target } from '../../../oci/storage.ts';
import { acceleratedTags, type ImageName, tagOf } from '../rewrite/image-name.ts';
import type { AcceleratedAnswer } from '../rewrite.ts';

/** Artifact types of images that were converted as referrers (docs/formats.md §8). */
const REFERRER_TYPE = /^application\/vnd\.containerd\.overlaybd\.(native|turbo)\.v1\+json$/;
/** Records that are remembered; they never change, since they are by digest. */
const MOST_RECORDS = 20_000;
/** Accelerated tags of a repository that are looked through for a digest. */
const MOST_TAGS = 200;
const AT_ONCE = 8;

/** A counterpart that was looked at. */
interface Candidate {
  readonly tag?: string;
  readonly digest: string;
  /** Digest of the image that it was made from; undefined where it does not say. */
  readonly source: string | undefined;
}

/** Looks at repositories; remembers only what cannot change. */
export class ConversionFinder {
  readonly #suffixes: readonly string[];
  readonly #records = new LRUCache<string, { readonly source: string | undefined }>({ max: MOST_RECORDS });

  constructor(suffixes: readonly string[]) {
    this.#suffixes = suffixes;
  }

  /** Finds the counterpart that was made from the present content of the image. Throws what the registry throws. */
  async find(target: Target, image: ImageName, signal: AbortSignal): Promise<AcceleratedAnswer> {
    const tag = tagOf(image);
    const tags = tag === undefined ? [] : acceleratedTags(tag, this.#suffixes);
    const [base, ...found] = await Promise.all([
      image.digest ?? unlessMissing(async () => (await target.resolve(tag!, { signal })).digest),
      ...tags.map((one) => this.#byTag(target, one, signal)),
    ]);
    if (base === undefined) return 'missing-image';
    const candidates = found.filter((one) => one !== undefined);
    const match = candidates.find(({ source }) => source === base);
    if (match !== undefined) return answerOf(match);
    if (image.digest !== undefined) return this.#byDigest(target, base, signal);
    if (candidates.length === 0) return 'no-accelerated-image';
    return candidates.some(({ source }) => source !== undefined)
      ? 'outdated-accelerated-image'
      : 'unproven-accelerated-image';
  }

  async #byTag(target: Target, tag: string, signal: AbortSignal): Promise<Candidate | undefined> {
    const descriptor = await unlessMissing(() => target.resolve(tag, { signal }));
    return descriptor && { tag, digest: descriptor.digest, source: await this.#sourceOf(target, descriptor, signal) };
  }

  /** The image with this digest may have been converted under any tag, or as a referrer. */
  async #byDigest(target: Target, digest: string, signal: AbortSignal): Promise<AcceleratedAnswer> {
    if (canRefer(target)) {
      const referrers = await target.referrers({ digest }, undefined, { signal });
      for (const one of referrers.filter(({ artifactType }) => REFERRER_TYPE.test(artifactType ?? ''))) {
        if ((await this.#sourceOf(target, one, signal)) === digest) return { digest: one.digest };
      }
    }
    const all = canListTags(target) ? await target.tags({ signal }) : [];
    const limiter = new Limiter(AT_ONCE);
    for (const suffix of this.#suffixes) {
      const tags = all.filter((tag) => tag.endsWith(suffix)).slice(-MOST_TAGS);
      const found = await Promise.all(tags.map((tag) => limiter.run(() => this.#byTag(target, tag, signal))));
      const match = found.find((one) => one?.source === digest);
      if (match !== undefined) return answerOf(match);
    }
    return 'no-accelerated-image';
  }

  /** The digest that an image says it was made from. */
  async #sourceOf(target: Target, descriptor: Descriptor, signal: AbortSignal): Promise<string | undefined> {
    const key = `${target.name}@${descriptor.digest}`;
    const known = this.#records.get(key);
    if (known !== undefined) return known.source;
    const document = await readable(() => loadDocument(target, descriptor, { signal }));
    const top = document?.kind === 'index' ? document.index : document?.manifest;
    const source = decodeRecord(top?.annotations)?.sourceDigest;
    this.#records.set(key, { source });
    return source;
  }
}

function answerOf({ tag, digest }: Candidate): AcceleratedAnswer {
  return tag === undefined ? { digest } : { tag, digest };
}

/** Undefined for a document that exists and is in no form that accel knows. */
async function readable<T>(load: () => Promise<T>): Promise<T | undefined> {
  try {
    return await load();
  } catch (error) {
    const { code } = asAccelError(error);
    if (code === 'manifest-invalid' || code === 'image-unsupported' || code === 'limit-exceeded') return undefined;
    throw error instanceof AccelError ? error : asAccelError(error);
  }
}
