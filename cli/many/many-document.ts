/** The one JSON document of a run of many images, and its report as JUnit XML. */
import type { ImageOutcome, ImageState } from '../../triggers/many/image-orders.ts';
import { errorDocument } from '../error-report.ts';
import { flagWords } from '../option-words.ts';
import { JSON_FORMAT_VERSION, jsonText } from '../progress/json.ts';
import { reasonsOf, tallyOf } from './tally.ts';

/** Facts of a run that its outcomes lack. */
export interface RunFacts {
  /** Wall time. */
  readonly seconds: number;
  readonly exitCode: number;
}

/** The document as text. docs/schemas/convert-many.json describes it. */
export function manyDocument(outcomes: readonly ImageOutcome[], { seconds, exitCode }: RunFacts): string {
  const tally = tallyOf(outcomes);
  return jsonText({
    formatVersion: JSON_FORMAT_VERSION,
    images: outcomes.map(imageRecord),
    totals: {
      images: outcomes.length,
      converted: tally.converted,
      upToDate: tally['up-to-date'],
      due: tally.due,
      skipped: tally.skipped,
      failed: tally.failed,
      interrupted: tally.interrupted,
      notStarted: tally['not-started'],
    },
    skips: reasonsOf(outcomes, 'skipped').map(countOf),
    failures: reasonsOf(outcomes, 'failed').map(countOf),
    seconds,
    exitCode,
  });
}

function countOf({ code, reason, images }: ReturnType<typeof reasonsOf>[number]) {
  return { code, reason, count: images.length };
}

function imageRecord({ order, state, repository, digest, tags, skip, error, warnings, bytes, seconds }: ImageOutcome) {
  return {
    reference: order.reference,
    ...(order.places.length === 0 ? {} : { places: order.places }),
    state,
    ...(digest === undefined ? {} : { sourceDigest: digest }),
    tags: tags.map((tag) => ({
      ...tag,
      ...(tag.digest === undefined || repository === undefined
        ? {}
        : { reference: `${repository}:${tag.tag}@${tag.digest}` }),
    })),
    ...(skip === undefined ? {} : { skip }),
    ...(error === undefined ? {} : { error: errorDocument(error, flagWords('convert')).error }),
    warnings,
    bytes,
    seconds,
  };
}

/** Elements of JUnit for states: an image that was not begun is neither passed nor failed. */
const SKIPPED: ReadonlySet<ImageState> = new Set(['skipped', 'interrupted', 'not-started', 'due']);

/** The report as JUnit XML: a test case an image, the repository as its class. */
export function junitReport(outcomes: readonly ImageOutcome[], { seconds }: Pick<RunFacts, 'seconds'>): string {
  const skipped = outcomes.filter(({ state }) => SKIPPED.has(state)).length;
  const { failed } = tallyOf(outcomes);
  const counts = `tests="${outcomes.length}" failures="${failed}" errors="0" skipped="${skipped}" time="${seconds.toFixed(3)}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite name="accel convert" ${counts}>`,
    ...outcomes.map(testCase),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function testCase({ order, state, skip, error, tags, seconds }: ImageOutcome): string {
  const { reference } = order;
  const cut = Math.max(reference.lastIndexOf('@'), reference.lastIndexOf(':', reference.lastIndexOf('@') >>> 0));
  const [repository, name] =
    cut > reference.lastIndexOf('/') ? [reference.slice(0, cut), reference.slice(cut + 1)] : [reference, reference];
  const open = `    <testcase classname="${xml(repository)}" name="${xml(name)}" time="${seconds.toFixed(3)}"`;
  if (state === 'failed') {
    const text = errorText(error);
    return `${open}>\n      <failure type="${xml(error?.code ?? '')}" message="${xml(error?.message ?? '')}">${xml(text)}</failure>\n    </testcase>`;
  }
  if (SKIPPED.has(state)) return `${open}>\n      <skipped message="${xml(skip?.reason ?? state)}"/>\n    </testcase>`;
  const made = tags.map(({ tag, digest }) => `${tag} ${digest ?? ''}`).join('\n');
  return `${open}>\n      <system-out>${xml(`${state}\n${made}`)}</system-out>\n    </testcase>`;
}

function errorText(error: ImageOutcome['error']): string {
  if (error === undefined) return '';
  return JSON.stringify(errorDocument(error, flagWords('convert')).error, null, 2);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;
const XML_ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Text for XML 1.0, which has no place for most control characters and for halves of characters. */
function xml(text: string): string {
  return Buffer.from(text)
    .toString('utf8')
    .replace(NOT_XML, '\ufffd')
    .replace(/[&<>"]/g, (char) => XML_ENTITIES[char] ?? char);
}
