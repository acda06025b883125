/**
 * Decides what is to be done about an image, by what the registry has now. The conversion service asks it about each push,
 * `accel convert` about each image of a run: the same image with the same options gets the same answer from both.
 */
import { type AccelError, asAccelError } from '../base/error.ts';
import type { Endpoints } from '../converter/endpoints.ts';
import { openPlanSession } from '../converter/open-session.ts';
import type { ConvertRequest } from '../converter/options.ts';
import { annotationsOf } from '../converter/plan/existing-output.ts';
import { type CurrentTag, findCurrent } from '../converter/plan/quick-look.ts';
import { decodeRecord } from '../converter/publish/record-annotations.ts';
import type { SharedContext } from '../converter/shared-run.ts';
import { type NamedDocument, resolveDocument } from '../oci/document.ts';
import { ALREADY_ACCELERATED, NAMED_ACCELERATED } from './decide.ts';
import { classify } from './existing-tag.ts';
import type { Skip } from './payload.ts';
import { isOwnName } from './rules/covered-tags.ts';

/** An image to decide about. */
export interface ConversionQuestion {
  readonly request: ConvertRequest;
  /** An event or a pattern found it, nobody named it: then its name and content may be reasons to skip it. */
  readonly found: boolean;
  /** Why it cannot be converted, if it turns out to be an image that would be: its tag leaves no room for a suffix. */
  readonly refused?: AccelError;
}

/** The thing to do. `digest` is that of the source. */
export type ConversionDecision =
  | { readonly state: 'skipped'; readonly skip: Skip; readonly digest?: string }
  | { readonly state: 'up-to-date'; readonly digest: string; readonly tags: readonly CurrentTag[] }
  | {
      /** To convert, unless `prepare`, which reads more, finds all outputs up to date. */
      readonly state: 'due';
      readonly digest: string;
      readonly named: NamedDocument;
      /** By the digest that was looked at: the tag may move meanwhile. */
      readonly request: ConvertRequest;
    };

/**
 * Decides about an image whose tag is not skipped by its name alone (`skipOfTag`, which needs no request). An image that is
 * up to date costs a request for its manifest and one for each of its tags. Throws the question's `refused`, and what the
 * registry throws.
 */
export async function decideConversion(
  endpoints: Endpoints,
  question: ConversionQuestion,
  context: SharedContext = {},
): Promise<ConversionDecision> {
  const { found, refused } = question;
  const signal = context.signal ?? new AbortController().signal;
  const named = await readSource(endpoints, question, signal);
  if ('code' in named) return { state: 'skipped', skip: named };
  const { digest } = named.descriptor;
  const { tag } = question.request.source;
  const request = { ...question.request, source: { ...question.request.source, digest } };
  // By its own annotations: no tag of the target needs a look.
  if (decodeRecord(annotationsOf(named.document)) !== undefined) {
    return { state: 'skipped', skip: ALREADY_ACCELERATED, digest };
  }
  const current =
    refused === undefined ? await findCurrent(openPlanSession(endpoints, request, context), named) : undefined;
  if (current !== undefined) return { state: 'up-to-date', digest, tags: current };
  const { kind, problem = 'not an image' } = await classify(endpoints.source, named, signal);
  if (kind === 'no-image') return { state: 'skipped', skip: { code: 'not-an-image', reason: problem }, digest };
  if (kind === 'accelerated') return { state: 'skipped', skip: ALREADY_ACCELERATED, digest };
  if (found && tag !== undefined && isOwnName(tag)) return { state: 'skipped', skip: NAMED_ACCELERATED, digest };
  if (refused !== undefined) throw refused;
  return { state: 'due', digest, named, request };
}

/** The source's document. Content that is no image is a reason to skip what was found, and an error of what was named. */
async function readSource(
  { source }: Endpoints,
  { request, found }: ConversionQuestion,
  signal: AbortSignal,
): Promise<NamedDocument | Skip> {
  const { tag, digest } = request.source;
  try {
    return await resolveDocument(source, digest ?? tag!, { signal });
  } catch (error) {
    const { code, message } = asAccelError(error);
    if (found && code === 'not-found') return { code: 'gone', reason: 'the image no longer exists' };
    if (found && (code === 'image-unsupported' || code === 'manifest-invalid')) {
      return { code: 'not-an-image', reason: message };
    }
    throw error;
  }
}

/**
 * The question about an image whose request `build` makes for a tag. One that has no room for a suffix is refused only
 * when it turns out to be an image that would be converted. Throws what `build` throws for any other reason.
 */
export function questionOf(
  tag: string,
  build: (tag: string) => ConvertRequest,
): Pick<ConversionQuestion, 'request' | 'refused'> {
  try {
    return { request: build(tag) };
  } catch (error) {
    const refused = asAccelError(error);
    if (refused.code !== 'tag-too-long') throw error;
    // As for a short tag; nothing is made by it.
    return { request: { ...build('x'), source: { tag }, outputs: [] }, refused };
  }
}
