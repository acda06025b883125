/** The one JSON document that `--json` prints on standard output when all is over. */

import { stringifyJson } from '../../base/exact-json.ts';
import type { ConvertResult } from '../../converter/options.ts';
import type { ConvertPlan } from '../../converter/plan/dry-run.ts';
import { replaceUnprintable } from '../text.ts';

/** Version of the document's form; it grows when a field changes its meaning or goes away. */
export const JSON_FORMAT_VERSION = 1;

/**
 * The result as JSON text with a newline. Manifests are left out unless asked for: they are as long as the image has
 * layers.
 */
export function resultDocument(result: ConvertResult, withManifests: boolean): string {
  return jsonText({ formatVersion: JSON_FORMAT_VERSION, ...resultRecord(result, withManifests) });
}

/** The plan of a dry run as JSON text. */
export function planDocument(plan: ConvertPlan): string {
  return jsonText({ formatVersion: JSON_FORMAT_VERSION, ...plan });
}

/** The result as a record, as {@link resultDocument} has it. */
export function resultRecord(result: ConvertResult, withManifests: boolean): Record<string, unknown> {
  const tags = result.tags.map((tag) => ({
    ...tag,
    reference: `${result.repository}:${tag.tag}@${tag.digest}`,
    manifests: tag.manifests.map(({ manifest, ...rest }) => (withManifests ? { ...rest, manifest } : rest)),
  }));
  return { ...result, tags };
}

/**
 * Any value as one JSON document with a newline. JSON itself escapes the lower controls alone; the others that can steer
 * a terminal or turn text around are escaped as well, which reads as the same text.
 */
export function jsonText(value: unknown, indent = 2): string {
  return `${escapeUnprintable(stringifyJson(value, indent))}\n`;
}

/** Outside of strings JSON has nothing that is escaped here but line breaks, which stay. */
function escapeUnprintable(json: string): string {
  return replaceUnprintable(json, (char) =>
    char === '\n' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
