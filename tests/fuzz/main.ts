/**
 * Fuzzes by hand, as long as one likes: `npm run fuzz -- TARGET|all [--minutes N] [--cases N] [--seed S] [--case N]`.
 * `--case` runs one case alone, to see a finding again. Exit 1 when there was one; its input is written beside.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { runFuzz } from './run.ts';
import { TARGETS } from './targets/index.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string' },
    cases: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    case: { type: 'string' },
  },
});
const [name = ''] = positionals;
const chosen = TARGETS.filter((target) => name === 'all' || target.name === name);
if (chosen.length === 0) {
  console.error(`no target "${name}"; there are all, ${TARGETS.map((target) => target.name).join(', ')}`);
  process.exit(2);
}
const seed = Number(values.seed);
for (const target of chosen) {
  const started = performance.now();
  const { tally, findings } = await runFuzz({
    target: target.name,
    seed,
    ...(values.minutes === undefined ? {} : { time: Number(values.minutes) * 60_000 }),
    ...(values.case === undefined ? {} : { first: Number(values.case), cases: 1 }),
    ...(values.cases === undefined ? {} : { cases: Number(values.cases) }),
    ...((values.minutes ?? values.case ?? values.cases) ? {} : { cases: target.cases }),
  });
  const refused = Object.entries(tally.refused).map(([code, count]) => `${code} ${count}`);
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  console.log(
    `${target.name}: seed ${seed}, ${tally.cases} cases in ${minutes} min, ${tally.accepted} accepted, ` +
      `refused: ${refused.join(', ') || 'none'}; ${findings.length} findings`,
  );
  for (const finding of findings) {
    console.log(`  case ${finding.number}: ${finding.problem}`);
    if (finding.input !== undefined) {
      const file = `fuzz-${finding.target}-${finding.seed}-${finding.number}.bin`;
      await writeFile(file, finding.input);
      console.log(
        `  its input is in ${file}; again: npm run fuzz -- ${finding.target} --seed ${seed} --case ${finding.number}`,
      );
    }
  }
  if (findings.length > 0) process.exitCode = 1;
}
