/**
 * `npm run lab:faults`: breaks things while real containerds pull through agents, and compares with pulls without agents. Needs
 * root, for network namespaces. Prints the table of docs/agent.md, and with --json a line a fault. Exit code 1 where a pull
 * failed that goes well without agents, or took 15 s longer.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FaultLab, type PullResult } from './fault-lab.ts';
import { FAULTS, type Fault } from './fault-table.ts';
import { findTools } from './find-tools.ts';
import { nameLab, removeNetwork } from './network.ts';
import { Processes } from './processes.ts';

const HELP = `npm run lab:faults -- [options]      needs root and Linux

  --only TEXT      faults whose name holds this text
  --cheap          the quick ones
  --containerd DIR folder of containerd and ctr (default: 2.x where it was built, else the one on PATH)
  --json           print a line of JSON for each fault
  --keep           keep the folder with all logs
`;

const NODES = 4;
const IMAGE = { mebibytes: 24, layers: 3, uplink: '100mbit' };
/** Seconds that a pull through agents may take longer than one without them. */
const MOST_LONGER = 15;

/** A fault and what came of it. */
interface Row {
  readonly fault: string;
  readonly agents: PullResult;
  readonly direct: PullResult;
  /** The next pulls of those that failed. */
  readonly again: PullResult | undefined;
  readonly good: boolean;
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    cheap: { type: 'boolean', default: false },
    containerd: { type: 'string' },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(HELP);
else process.exitCode = await main();

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) {
    console.error('The lab makes network namespaces: run it as root.');
    return 2;
  }
  const tools = findTools({ containerd: values.containerd });
  if (typeof tools === 'string') {
    console.error(tools);
    return 2;
  }
  nameLab('accel-faults');
  const folder = await mkdtemp(join(tmpdir(), 'accel-faults-'));
  const processes = new Processes();
  let lab: FaultLab | undefined;
  let ending: Promise<void> | undefined;
  const cleanUp = () => {
    ending ??= (async () => {
      await processes.stop();
      await lab?.unmount();
      await removeNetwork();
      if (values.keep) console.error(`kept ${folder}`);
      else await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
    })();
    return ending;
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void cleanUp().then(() => process.exit(130)));
  try {
    lab = await FaultLab.start({ tools, folder, processes, nodes: NODES, ...IMAGE });
    return await tryAll(lab);
  } finally {
    await cleanUp();
  }
}

async function tryAll(lab: FaultLab): Promise<number> {
  const chosen = FAULTS.filter(({ name, cheap }) => name.includes(values.only) && (!values.cheap || cheap === true));
  const undisturbed = await lab.pullAll(await lab.push(), { direct: true });
  let bad = 0;
  if (!values.json)
    console.log(
      '| fault | with agents | without | failed | the registry sent | of that to runtimes | counted as dead |\n| --- | --- | --- | --- | --- | --- | --- |',
    );
  for (const fault of chosen) {
    const direct = fault.origin === undefined ? undisturbed : (await underFault(lab, fault, true)).first;
    const { first: agents, again } = await underFault(lab, fault, false);
    const good = agents.failed <= direct.failed && agents.seconds <= direct.seconds + MOST_LONGER;
    if (!good) bad += 1;
    print({ fault: fault.name, agents, direct, again, good });
  }
  return bad === 0 ? 0 : 1;
}

async function underFault(
  lab: FaultLab,
  fault: Fault,
  direct: boolean,
): Promise<{ readonly first: PullResult; readonly again: PullResult | undefined }> {
  const { origin, gone = [], idle = [], strike, prepare, forgedLists = false } = fault;
  const image = await lab.push({ forgedLists });
  if (!direct) await prepare?.(lab, image);
  if (origin !== undefined) await lab.setOrigin(origin);
  try {
    const first = await lab.pullAll(image, { direct, uncounted: gone, idle, strike: () => strike?.(lab) });
    const again = fault.again === true && !direct ? await lab.pullAll(image, { uncounted: gone, idle }) : undefined;
    return { first, again };
  } finally {
    await lab.restore();
  }
}

function print({ fault, agents, direct, again, good }: Row): void {
  if (values.json) {
    console.log(JSON.stringify({ fault, agents, direct, again, good }));
    return;
  }
  const next = again === undefined ? '' : `, the next ${again.failed}`;
  const failed = direct.failed === 0 ? `${agents.failed}${next}` : `${agents.failed}; without agents ${direct.failed}`;
  const cells = [
    fault,
    `${agents.seconds.toFixed(1)} s`,
    `${direct.seconds.toFixed(1)} s`,
    failed,
    `${agents.copies.toFixed(2)} ×`,
    `${agents.runtimes.toFixed(2)} ×`,
    String(agents.dead),
  ];
  console.log(`| ${cells.join(' | ')} |${good ? '' : ' BAD'}`);
}
