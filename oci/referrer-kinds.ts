/**
 * Kinds of referrers, by their media types: signatures (cosign, notation), attestations (in-toto, SLSA, BuildKit's) and bills
 * of materials (SPDX, CycloneDX, Syft); and what each is about: the digest that it names, or the content of the image.
 */
import type { ImageManifest } from './manifest.ts';
import { bareMediaType } from './media-types.ts';

/** The kind of a referrer; `image`: an accelerated image, `link`: accel's own pointer to the referrers of a source. */
export type ReferrerKind = 'signature' | 'attestation' | 'sbom' | 'image' | 'link' | 'other';

/** The thing that a referrer speaks of: the digest of its subject, the content (true of every image with the same files), or it is not known. */
export type ReferrerAbout = 'digest' | 'content' | 'unknown';

/** The facts of a referrer, wherever one is shown. */
export interface ReferrerBase {
  readonly digest: string;
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly kind: ReferrerKind;
  readonly about: ReferrerAbout;
  /** Bytes of its config and layers; of the manifest where that cannot be read. */
  readonly size: number;
  /** The way to find it: listed as a referrer, under a tag of cosign, or as an entry of the subject's index. */
  readonly via: 'referrers' | 'tag' | 'index';
  /** The tag of cosign. */
  readonly tag?: string;
}

/** `artifactType` of accel's pointer to referrers that are true of the source's digest alone (docs/formats.md §10). */
export const REFERRER_LINK = 'application/vnd.accel-image.referrer-link.v1+json';

/** `artifactType` of accelerated images that refer to their source. */
const ACCELERATED = 'application/vnd.containerd.overlaybd.';

const SIGNATURES: ReadonlySet<string> = new Set([
  'application/vnd.dev.cosign.simplesigning.v1+json',
  'application/vnd.dev.cosign.artifact.sig.v1+json',
  'application/vnd.cncf.notary.signature',
  'application/vnd.cncf.notary.v2.signature',
]);

const ATTESTATIONS: ReadonlySet<string> = new Set([
  'application/vnd.dsse.envelope.v1+json',
  'application/vnd.in-toto+json',
  'application/vnd.in-toto+dsse',
  'application/vnd.docker.attestation.manifest.v1+json',
]);

/** A bundle of Sigstore, which holds a signature or an attestation; an annotation says which. */
const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v[\d.]+)?\+json$/;
const BUNDLE_PREDICATE = 'dev.sigstore.bundle.predicateType';
const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/';

const SBOMS: ReadonlySet<string> = new Set([
  'application/spdx+json',
  'application/spdx+xml',
  'text/spdx',
  'text/spdx+json',
  'text/spdx+xml',
  'application/vnd.cyclonedx',
  'application/vnd.cyclonedx+json',
  'application/vnd.cyclonedx+xml',
  'application/vnd.syft+json',
]);

/** Parts of a manifest by which its kind is known. */
export type KindFacts = Pick<ImageManifest, 'artifactType' | 'annotations'> & {
  readonly config?: ImageManifest['config'] | undefined;
  readonly layers?: ImageManifest['layers'] | undefined;
};

/**
 * The kind of a referrer. A signature or statement in any of its layers decides; a bill of materials is one only if it has nothing
 * else, so that whatever is signed is never taken for a plain document.
 */
export function referrerKind({ artifactType, annotations, config, layers = [] }: KindFacts): ReferrerKind {
  const own = [artifactType, config?.mediaType].flatMap((type) => (type === undefined ? [] : [bareMediaType(type)]));
  const content = layers.map(({ mediaType }) => bareMediaType(mediaType));
  const types = [...own, ...content];
  if (own.includes(REFERRER_LINK)) return 'link';
  if (own.some((type) => type.startsWith(ACCELERATED))) return 'image';
  if (types.some((type) => BUNDLE.test(type))) {
    return annotations?.[BUNDLE_PREDICATE]?.startsWith(SIGN_PREDICATE) === true ? 'signature' : 'attestation';
  }
  if (types.some((type) => SIGNATURES.has(type))) return 'signature';
  if (types.some((type) => ATTESTATIONS.has(type))) return 'attestation';
  if (content.length > 0 && content.every((type) => SBOMS.has(type))) return 'sbom';
  return 'other';
}

/** Says what a referrer of a kind speaks of. */
export function aboutOf(kind: ReferrerKind): ReferrerAbout {
  if (kind === 'sbom') return 'content';
  return kind === 'other' ? 'unknown' : 'digest';
}
