/** `accel prefetch warm`: brings an image's pieces to nodes before anything starts there. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { advise, option } from '../../base/advice.ts';
import { AccelError } from '../../base/error.ts';
import type { WarmPlan } from '../../prefetch/warm-plan.ts';
import { AgentClient, type FleetWarmProgress } from '../agent-client.ts';
import type { CommandContext } from '../context.ts';
import { formatBytes, formatCount } from '../format.ts';
import { parseAgentUrl, parseDuration } from '../parse-values.ts';
import { JSON_FORMAT_VERSION, jsonText } from '../progress/json.ts';
import { addReadingFlags, type ReadingFlags } from '../reading.ts';
import { registryChoice } from '../registry-flags.ts';
import { createWarn } from '../warning.ts';

interface WarmFlags extends ReadingFlags {
  readonly all?: boolean;
  readonly allNodes?: boolean;
  readonly agent: string;
  readonly wait: boolean;
  readonly timeout?: number;
}

const EXAMPLES = `
Examples:
  $ accel prefetch warm registry.example.com/team/app:1.2_accelerated
  $ accel prefetch warm --all-nodes --timeout 10m registry.example.com/team/app:1.2
`;

/** Milliseconds between two questions to the agent, and between two lines of progress. */
const ASK_EVERY = 500;
const TELL_EVERY = 5_000;
/** Nodes that an error names. */
const SHOWN = 10;

/** Declares the command. */
export function prefetchWarmCommand(context: CommandContext): Command {
  const command = new Command('warm')
    .summary('bring an image to nodes before it starts there')
    .description(
      'Lets the agent of this node, or of all nodes, fetch the pieces of an image: those of the list or trace that it ' +
        'carries, or all. The agents give way to whatever containers read meanwhile, share the pieces among themselves, ' +
        'and ask the registry as you.',
    )
    .argument('<ref>', 'image, accelerated or not, HOST/NAME:TAG')
    .option('--all', 'all of the image, also where it carries a list')
    .option('--all-nodes', 'on all nodes that the agent knows')
    .option('--agent <url>', 'agent of this node', parseAgentUrl, 'http://127.0.0.1:65001')
    .option('--no-wait', 'return as soon as the prefetch has started')
    .option('--timeout <duration>', 'end the prefetch after so long, such as 10m', parseDuration('--timeout'))
    .option('--json', 'print one JSON document on standard output');
  addReadingFlags(command);
  return command
    .addHelpText('after', EXAMPLES)
    .action((reference: string, flags: WarmFlags) => runWarm(reference, flags, context));
}

async function runWarm(reference: string, flags: WarmFlags, context: CommandContext): Promise<void> {
  const { signal, stdin, stdout, stderr, env } = context;
  context.setReporting({ json: flags.json === true, verbose: flags.verbose === true });
  const registry = await registryChoice(flags, stdin, stderr);
  const [{ openReference }, { planWarm }, { canAuthorize, inRegistry }] = await Promise.all([
    import('../../reader/open-reference.ts'),
    import('../../prefetch/warm-plan.ts'),
    import('../../oci/powers.ts'),
  ]);
  const warn = await createWarn(stderr, env);
  const { target, tagOrDigest, close } = await openReference(reference, { ...registry, env, warn });
  try {
    const place = inRegistry(target);
    if (place === undefined || !canAuthorize(target)) {
      throw new AccelError('usage', 'agents fetch images from registries alone', {
        where: { image: reference },
        expected: 'HOST/NAME:TAG',
      });
    }
    const plan = await planWarm(target, tagOrDigest, { platform: flags.platform, all: flags.all === true, signal });
    const authorization = await target.pullAuthorization({ signal });
    const agent = new AgentClient(flags.agent);
    const { registry: host, repository } = place;
    const question = { registry: host, repository, blobs: plan.blobs };
    const started = await agent.start(question, { authorization, allNodes: flags.allNodes === true }, signal);
    const say = flags.quiet === true ? undefined : (line: string) => void stderr.write(`${line}\n`);
    const ended = flags.wait ? await waitFor(agent, started, { timeout: flags.timeout, say, signal }) : started;
    if (ended.state !== 'done' && ended.state !== 'running') throw failureOf(reference, ended);
    stdout.write(flags.json === true ? documentOf(reference, plan, ended) : `${summaryOf(ended)}\n`);
  } finally {
    await close();
  }
}

interface WaitOptions {
  /** Milliseconds. */
  readonly timeout: number | undefined;
  readonly say: ((line: string) => void) | undefined;
  readonly signal: AbortSignal;
}

/** Follows a prefetch to its end; ends it where the time is over or the user interrupts. */
async function waitFor(
  agent: AgentClient,
  started: FleetWarmProgress,
  { timeout, say, signal }: WaitOptions,
): Promise<FleetWarmProgress> {
  const begin = performance.now();
  let told = begin;
  let progress = started;
  try {
    while (progress.state === 'running') {
      const now = performance.now();
      if (timeout !== undefined && now - begin > timeout) {
        throw new AccelError('timed-out', 'the prefetch did not end in time', {
          expected: `at most ${Math.round(timeout / 1000)} s`,
          found: summaryOf(progress),
          hint: advise`The nodes keep the pieces that they have: call it again, or with a longer ${option('timeout')}.`,
        });
      }
      if (now - told >= TELL_EVERY) {
        say?.(summaryOf(progress));
        told = now;
      }
      await sleep(ASK_EVERY, undefined, { signal });
      progress = await agent.progress(progress.id, signal);
    }
    return progress;
  } catch (error) {
    // Nobody waits for it any more; an agent that is gone has ended it itself.
    await agent.cancel(started.id, AbortSignal.timeout(ASK_EVERY)).catch(() => undefined);
    throw error;
  }
}

function summaryOf({ state, nodes }: FleetWarmProgress): string {
  const sum = (pick: (node: FleetWarmProgress['nodes'][number]) => number): number =>
    nodes.reduce((all, node) => all + pick(node), 0);
  const ready = nodes.filter((node) => node.state === 'done').length;
  const bytes = `${formatBytes(sum((node) => node.bytes.done))} of ${formatBytes(sum((node) => node.bytes.total))}`;
  return `${state}: ${bytes}, ${ready} of ${formatCount(nodes.length, 'node')} ready`;
}

function failureOf(reference: string, progress: FleetWarmProgress): AccelError {
  const failed = progress.nodes.filter(({ state }) => state !== 'done');
  const status = failed.map(({ problem }) => problem?.status ?? 0).find((one) => one !== 0) ?? 0;
  const code = status === 401 || status === 403 ? 'unauthorized' : status === 404 ? 'not-found' : 'registry-error';
  const named = failed.slice(0, SHOWN).map(({ node, state, problem }) => `${node} ${problem?.message ?? state}`);
  return new AccelError(code, `the image is not on all nodes: ${summaryOf(progress)}`, {
    where: { image: reference },
    expected: formatCount(progress.nodes.length, 'node'),
    found: [...named, ...(failed.length > SHOWN ? [`${failed.length - SHOWN} more`] : [])].join('; '),
    hint: 'The nodes keep the pieces that they have: call it again when the cause is mended.',
  });
}

function documentOf(reference: string, { platform, form }: WarmPlan, { id, state, nodes }: FleetWarmProgress): string {
  return jsonText({ formatVersion: JSON_FORMAT_VERSION, reference, platform, form, id, state, nodes });
}
