/** The rules of a file, for `--rules`: the section `rules` of a configuration of `accel serve`. */
import { AccelError } from '../../base/error.ts';
import { compileRules, type RuleSet } from '../../triggers/rules/match-rule.ts';
import { readRules } from '../../triggers/rules/read-rules.ts';
import { ruleSources } from '../../triggers/rules/rule-entries.ts';
import { readBytes } from '../prefetch-flags.ts';

/** Reads and compiles the rules; `-` is standard input. Throws `usage` for what cannot be used, with its key. */
export async function loadRuleFile(file: string, stdin: AsyncIterable<Uint8Array | string>): Promise<RuleSet> {
  const text = Buffer.from(await readBytes(file, stdin)).toString('utf8');
  return compileRules(await ruleSources(readRules(parse(text, file), file)));
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AccelError('usage', 'the rules cannot be read', {
      where: { file },
      expected: 'JSON',
      found: (cause as Error).message,
      cause,
    });
  }
}
