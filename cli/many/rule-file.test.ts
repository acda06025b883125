/** Files for --rules: YAML and JSON are read as the service reads them, and a mistake has its place. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseConfig } from '../../server/config/load.ts';
import { compileRules, type RuleSet } from '../../triggers/rules/match-rule.ts';
import { ruleSources } from '../../triggers/rules/rule-entries.ts';
import { loadRuleFile } from './rule-file.ts';

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-rules-'));
  file = join(folder, 'rules.yaml');
});
afterAll(() => rm(folder, { recursive: true }));

const nothing = async function* (): AsyncGenerator<string> {};
const load = async (text: string | Uint8Array): Promise<RuleSet> => {
  await writeFile(file, text);
  return loadRuleFile(file, nothing());
};

const YAML = `# the service's own file
registries:
  - host: r.test
rules:
  - repositories: ["r.test/team/*"]
    tags: { include: ["1.*"], exclude: ['*-debug'] }
    mode: index-only
    prefetch:
      - /bin/sh
  - repositories: [r.test/**]
    blockSize: 16Ki
`;

const SUBJECTS = [
  { repository: 'r.test/team/app', tag: '1.2' },
  { repository: 'r.test/team/app', tag: '1.2-debug' },
  { repository: 'r.test/other', tag: 'x' },
];

it.each([
  ['YAML', YAML],
  ['YAML with a byte order mark and CRLF', `\ufeff${YAML.replaceAll('\n', '\r\n')}`],
  ['an alias', 'rules:\n  - repositories: &r [r.test/team/*]\n    mode: index-only\n  - repositories: *r\n'],
  ['JSON', '{"rules": [{"repositories": ["r.test/team/*"], "tags": {"exclude": ["*-debug"]}}], "drain": "10s"}'],
  ['JSON with tabs', '{\n\t"rules": [\n\t\t{"repositories": ["r.test/**"]}\n\t]\n}\n'],
])('%s decides as in the service', async (_, text) => {
  const [mine, service] = [await load(text), compileRules(await ruleSources(parseConfig(text, file).rules))];
  const verdicts = (rules: RuleSet) => SUBJECTS.map((subject) => rules.match(subject));
  expect(verdicts(mine)).toEqual(verdicts(service));
  expect(verdicts(mine).some(({ rule }) => rule !== undefined)).toBe(true);
});

it.each<[text: string, line: number, column: number, message: string, hint?: string]>([
  ['rules:\n  - repositories: [r.test/a]\n    mode: ful\n', 3, 5, 'the rules cannot be used'],
  ['rules:\n  - repositories: [r.test/a]\n    modus: full\n', 3, 5, 'the rules cannot be used', 'Did you mean mode?'],
  ['rules:\n  - repositories: [r.test/a]\n    a.b: full\n', 3, 5, 'the rules cannot be used'],
  [
    'rules:\n  - repositories: [r.test/a]\n    tags:\n      include: [1.2]\n',
    4,
    7,
    'the rules cannot be used',
    'Quote',
  ],
  ['rules:\n  - repositories: [r.test/a]\n  - mode: full\n', 3, 5, 'the rules cannot be used'],
  ['rules:\n  - repositories: [r.test/a]\n  - r.test/b\n', 3, 5, 'the rules cannot be used'],
  ['# none\nrules: []\n', 2, 1, 'the rules cannot be used'],
  ['drain: 10s\n', 1, 1, 'the rules cannot be used'],
  ['', 1, 1, 'the rules cannot be used'],
  ['rules:\n  - repositories: [r.test/a]\n  - repositories: [team/*]\n', 3, 5, 'begins with the host of its registry'],
  ['rules:\n  - repositories: [r.test/a]\n    tags: {exclude: ["{x"]}\n', 3, 12, 'this pattern cannot be used'],
  ['rules:\n  - repositories: [r.test/a]\n    platforms: [windows]\n', 3, 5, ''],
  ['rules:\n  - repositories: [r.test/a\n', 3, 1, 'is not valid YAML'],
  ['rules:\n  - repositories: [r.test/a]\n\tmode: full\n', 3, 1, 'is not valid YAML'],
  ['{"rules": [}', 1, 12, 'is not valid YAML'],
  ['rules: !!js/function x\n', 1, 8, 'is not valid YAML'],
  ['rules: *missing\n', 1, 1, 'is not valid YAML'],
])('%j has its place', async (text, line, column, message, hint) => {
  await expect(load(text)).rejects.toMatchObject({
    code: 'usage',
    where: { file, line, column },
    message: expect.stringContaining(message),
    ...(hint === undefined ? {} : { hint: expect.stringContaining(hint) }),
  });
});

it('aliases that would blow up are refused', async () => {
  const levels = Array.from({ length: 12 }, (_, level) => {
    const of = level === 0 ? 'r.test/a' : Array.from({ length: 10 }, () => `*l${level - 1}`).join(', ');
    return `l${level}: &l${level} [${of}]\n`;
  });
  await expect(load(`${levels.join('')}rules: *l11\n`)).rejects.toMatchObject({
    code: 'usage',
    message: expect.stringContaining('alias'),
  });
});

it('a file that is too large, binary or missing is refused', async () => {
  await expect(load(`#${'x'.repeat(1 << 20)}\n`)).rejects.toMatchObject({ code: 'limit-exceeded' });
  await expect(load(Uint8Array.from({ length: 4096 }, (_, at) => (at * 31) % 256))).rejects.toMatchObject({
    code: 'usage',
  });
  await expect(loadRuleFile(join(folder, 'missing'), nothing())).rejects.toMatchObject({
    message: expect.stringContaining('missing'),
  });
});

it('standard input is read, to its bound', async () => {
  const chunks = async function* (): AsyncGenerator<string> {
    for (let at = 0; at < 20; at++) yield `#${'x'.repeat(99_999)}\n`;
  };
  await expect(loadRuleFile('-', chunks())).rejects.toMatchObject({ message: 'standard input is too long' });
});
