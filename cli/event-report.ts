/** The payload of an event from its file, and what it calls for in one line: for `accel event` and the Action. */
import { AccelError } from '../base/error.ts';
import { readSmallFile } from '../disk/small-file.ts';
import type { EventDecision } from '../triggers/decide.ts';

/** Bytes of a payload that are read; GitHub sends at most 25 MB. */
const MAX_PAYLOAD = 32 << 20;

/** Reads and parses the payload of an event. Throws `usage` when it is not JSON, `io-error` when it cannot be read. */
export async function readPayload(file: string): Promise<unknown> {
  const text = Buffer.from(await readSmallFile(file, MAX_PAYLOAD)).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AccelError('usage', 'the payload is not JSON', { where: { file }, found: text.slice(0, 80), cause });
  }
}

/** A decision in one line. */
export function describeDecision(decision: EventDecision): string {
  const { event, reason } = decision;
  if (event === 'convert') {
    const { tag, digest } = decision.source;
    return `convert ${decision.repository}${tag === undefined ? `@${digest}` : `:${tag}`}: ${reason}`;
  }
  if (event === 'accelerated')
    return `accelerated ${decision.repository}:${decision.tags.map(({ tag }) => tag).join(' and ')}: ${reason}`;
  const { repository, tag, code } = decision;
  const place = repository === undefined ? '' : ` ${repository}${tag === undefined ? '' : `:${tag}`}`;
  return `skipped${place}: ${reason} (${code})`;
}
