/**
 * Asks the agents of the cluster what they served and pulled (`GET /api/v1/agent` of each, docs/metrics.md). Only addresses of
 * the configuration are asked, a bounded number at a time, within a deadline; redirects are not followed.
 */
import { Resolver } from 'node:dns/promises';
import type { Config } from '../../config/schema.ts';
import { type AgentReport, readReport } from './agent-report.ts';

/** Agents that are asked at a time. */
const CONCURRENCY = 32;
/** Milliseconds for the answer of one. */
const TIMEOUT = 3000;
/** Milliseconds for all; those whose turn has not come by then count as not reached. */
const DEADLINE = 20_000;
/** Milliseconds for which answers are kept. */
const KEPT = 5000;
/** Most agents. */
const MAX_AGENTS = 2000;
/** Most bytes of an answer. */
const MAX_ANSWER = 1024 * 1024;
/** Most repositories of the list. */
const MAX_IMAGES = 500;
/** Port of the agents' documents unless a name has another one. */
const PORT = 65_003;

/** One agent: its report, or why it is missing. */
export interface AgentState extends Partial<Omit<AgentReport, 'images' | 'unready'>> {
  /** Identity of the agent, or the address that was asked. */
  readonly node: string;
  readonly reachable: boolean;
  /** Why it cannot be reached, or cannot serve well now. */
  readonly problem?: string;
}

/** Bytes of a repository, of all agents together. */
export interface ImageState {
  /** `registry/repository`. */
  readonly image: string;
  nodes: number;
  fromPeers: number;
  fromOrigin: number;
  toClients: number;
}

/** All agents. */
export interface AgentList {
  readonly agents: readonly AgentState[];
  /** Most bytes first, at most 500. */
  readonly images: readonly ImageState[];
  /** Why there is no list of agents: the name does not resolve. */
  readonly problem?: string;
}

/** Returns a function that asks all agents, at most once every five seconds. */
export function gatherAgents(settings: () => Config['service']['agents']): () => Promise<AgentList> {
  let kept: { readonly list: Promise<AgentList>; readonly of: unknown; readonly at: number } | undefined;
  return () => {
    const [now, of] = [performance.now(), settings()];
    if (kept === undefined || kept.of !== of || now - kept.at > KEPT) kept = { list: askAll(of), of, at: now };
    return kept.list;
  };
}

async function askAll(settings: Config['service']['agents']): Promise<AgentList> {
  const addresses = await addressesOf(settings).catch(() => undefined);
  if (addresses === undefined) return { agents: [], images: [], problem: `${settings.dns} does not resolve` };
  const deadline = AbortSignal.timeout(DEADLINE);
  const answers: Answer[] = [];
  const waiting = addresses.slice(0, MAX_AGENTS).entries();
  const worker = async (): Promise<void> => {
    for (const [index, url] of waiting) answers[index] = await askOne(url, deadline);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  const agents = answers.map(stateOf).sort((a, b) => (a.node < b.node ? -1 : 1));
  return { agents, images: sumImages(answers) };
}

async function addressesOf({ urls = [], dns }: Config['service']['agents']): Promise<readonly URL[]> {
  if (dns === undefined) return urls.map((url) => new URL(url));
  const [, name = '', port = PORT] = /^(.*?)(?::(\d+))?$/.exec(dns) ?? [];
  const resolver = new Resolver({ timeout: TIMEOUT, tries: 2 });
  const found = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const hosts = found.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  if (hosts.length === 0) throw new Error('no address');
  return hosts.map((host) => new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}`));
}

interface Answer {
  readonly host: string;
  readonly report?: AgentReport;
  readonly problem?: string;
}

async function askOne(base: URL, deadline: AbortSignal): Promise<Answer> {
  const { host } = base;
  const signal = AbortSignal.any([deadline, AbortSignal.timeout(TIMEOUT)]);
  try {
    const answer = await fetch(new URL('/api/v1/agent', base), { redirect: 'error', signal });
    if (answer.status !== 200) {
      await answer.body?.cancel();
      return { host, problem: `HTTP ${answer.status}` };
    }
    const report = readReport(await textOf(answer));
    return report === undefined ? { host, problem: 'the answer is not the report of an agent' } : { host, report };
  } catch {
    return { host, problem: signal.aborted ? `no answer within ${TIMEOUT / 1000} s` : 'no answer' };
  }
}

/** The body, if it has at most {@link MAX_ANSWER} bytes. */
async function textOf(answer: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    size += chunk.length;
    if (size > MAX_ANSWER) throw new Error('too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function stateOf({ host, report, problem }: Answer): AgentState {
  if (report === undefined) return { node: host, reachable: false, problem: problem ?? 'no answer' };
  const { images: _, unready, ...rest } = report;
  return { ...rest, reachable: true, ...(unready === null ? {} : { problem: unready }) };
}

function sumImages(answers: readonly Answer[]): ImageState[] {
  const sums = new Map<string, ImageState>();
  for (const { report } of answers) {
    for (const { registry, repository, ...bytes } of report?.images ?? []) {
      const image = `${registry}/${repository}`;
      const sum = sums.get(image) ?? { image, nodes: 0, fromPeers: 0, fromOrigin: 0, toClients: 0 };
      sum.nodes += 1;
      sum.fromPeers += bytes.fromPeers;
      sum.fromOrigin += bytes.fromOrigin;
      sum.toClients += bytes.toClients;
      sums.set(image, sum);
    }
  }
  return [...sums.values()].sort((a, b) => b.toClients - a.toClients).slice(0, MAX_IMAGES);
}
