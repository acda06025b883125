/**
 * Labels the nodes whose agents say that accelerated images can run there. The label goes at once when an agent says no, and after
 * three questions in a row without a word for the node. Only a label that the controller has set is ever removed: an annotation marks it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { asAccelError } from '../../../base/error.ts';
import { Limiter } from '../../../base/limiter.ts';
import { isKubeError } from '../kube/kube-error.ts';
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import { KubeWatch, type WatchRestart } from '../kube/kube-watch.ts';
import type { KubeClient } from '../kube.ts';
import { AgentAddresses } from './agent-addresses.ts';
import { AgentQuestions, type AgentWord } from './ask-agent.ts';
import { WorkQueue } from './work-queue.ts';

/** Settings of the labels. */
export interface NodeLabelOptions {
  /** The label; its value is true. */
  readonly label: string;
  /** Service of the agents; undefined: no node is labelled, and labels that were set before go. */
  readonly agents: { readonly namespace: string; readonly service: string } | undefined;
  /** Milliseconds between two questions to an agent. */
  readonly every: number;
  readonly onLook: (kind: AgentWord['kind']) => void;
  readonly onOutcome: (outcome: 'set' | 'removed' | 'failed') => void;
  readonly onRestart: (resource: string, reason: WatchRestart) => void;
  readonly log: (line: string) => void;
}

/** A node, as far as it is read. */
export interface LabelledNode {
  readonly value: string | undefined;
  /** Whether the label is the controller's. */
  readonly isOwn: boolean;
  readonly version: string | undefined;
}

/** The controller's opinion of a node. */
interface Opinion {
  /** Undefined: not known yet, the label stays as it is. */
  readonly fit: boolean | undefined;
  /** Questions in a row without a word for the node. */
  readonly misses: number;
  readonly reason: string;
  readonly isSilent: boolean;
}

/** Annotation of nodes whose label is the controller's. */
export const LABELLED = 'accel.dev/labelled';
/** Questions in a row without a word for the node after which its label goes. */
const MOST_MISSES = 3;
/** Milliseconds between two rounds at the least. */
const LEAST_WAIT = 100;
/** Agents that are asked at a time. */
const AT_ONCE = 16;
const NO_AGENT: AgentWord = { kind: 'silent', reason: 'the node has no agent' };
const OFF: Opinion = { fit: false, misses: 0, reason: 'nodes are not labelled any more', isSilent: false };

/** Keeps the labels until it is closed. */
export class NodeLabels {
  readonly #client: KubeClient;
  readonly #options: NodeLabelOptions;
  readonly #nodes: KubeWatch<LabelledNode>;
  readonly #agents: AgentAddresses | undefined;
  readonly #queue: WorkQueue;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #opinions: ReadonlyMap<string, Opinion> = new Map();

  /** Begins to watch and to ask. */
  constructor(client: KubeClient, options: NodeLabelOptions) {
    const { label, agents, onRestart, onOutcome, log } = options;
    this.#client = client;
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (name, signal) => this.#write(name, signal),
      onFailure: (name, error) => {
        // Somebody else has changed the node meanwhile: the watch brings its new state.
        if (isKubeError(error, 'Conflict')) return;
        onOutcome('failed');
        log(`the label of the node ${name} is not changed: ${asAccelError(error).message}`);
      },
      atOnce: AT_ONCE,
    });
    this.#nodes = new KubeWatch(client, {
      resource: RESOURCES.nodes,
      metadataOnly: true,
      project: (node) => labelledNode(node, label),
      onChange: (name) => this.#consider(name),
      onRestart: (reason) => onRestart('nodes', reason),
      log,
    });
    this.#agents = agents === undefined ? undefined : new AgentAddresses(client, { ...agents, onRestart, log });
    this.#done = this.#agents === undefined ? Promise.resolve() : this.#run(this.#agents);
  }

  /** Nodes that have the label, whoever has set it. */
  get labelled(): number {
    let count = 0;
    for (const { value } of this.#nodes.objects.values()) if (value === 'true') count++;
    return count;
  }

  /** Why labels may be wrong. */
  get problem(): string | undefined {
    if (!this.#nodes.isSynced) return 'the nodes are not read yet';
    const problem = this.#nodes.problem ?? this.#agents?.problem;
    if (problem !== undefined) return problem;
    const silent = [...this.#opinions].filter(([, { isSilent, misses }]) => isSilent && misses >= MOST_MISSES);
    const [first] = silent;
    return first === undefined
      ? undefined
      : `${silent.length} of ${this.#opinions.size} agents cannot be asked about their nodes, such as that of ${first[0]}: ${first[1].reason}`;
  }

  /** Ends it. The labels stay. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#done, this.#queue.close(), this.#nodes.close(), this.#agents?.close()]);
  }

  async #run(agents: AgentAddresses): Promise<void> {
    const { signal } = this.#stop;
    const questions = await AgentQuestions.open();
    try {
      while (!signal.aborted) {
        const started = performance.now();
        // A list that is not complete says nothing about a node.
        const isKnown = agents.isSynced && this.#nodes.isSynced;
        if (isKnown) await this.#round(agents, questions);
        const wait = isKnown ? this.#options.every - (performance.now() - started) : 0;
        await delay(Math.max(wait, LEAST_WAIT), undefined, { signal });
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await questions.close();
    }
  }

  /** Asks all agents once. */
  async #round(agents: AgentAddresses, questions: AgentQuestions): Promise<void> {
    const { signal } = this.#stop;
    const addresses = agents.byNode;
    const limit = new Limiter(AT_ONCE);
    const opinions = new Map<string, Opinion>();
    await Promise.all(
      [...this.#nodes.objects.keys()].map((name) =>
        limit.run(async () => {
          const address = addresses.get(name);
          const word = address === undefined ? NO_AGENT : await questions.ask(address, signal);
          if (address !== undefined) this.#options.onLook(word.kind);
          opinions.set(name, opinionOf(word, this.#opinions.get(name), address !== undefined));
        }),
      ),
    );
    this.#opinions = opinions;
    for (const name of opinions.keys()) this.#consider(name);
  }

  #opinion(name: string): Opinion | undefined {
    return this.#agents === undefined ? OFF : this.#opinions.get(name);
  }

  /** Adds a node to the queue where its label is not as it should be. */
  #consider(name: string): void {
    const node = this.#nodes.objects.get(name);
    if (node !== undefined && nodePatch(node, this.#opinion(name)?.fit, this.#options.label) !== undefined) {
      this.#queue.add(name);
    }
  }

  async #write(name: string, signal: AbortSignal): Promise<void> {
    const { label, onOutcome, log } = this.#options;
    const node = this.#nodes.objects.get(name);
    const opinion = this.#opinion(name);
    const content = node === undefined ? undefined : nodePatch(node, opinion?.fit, label);
    if (content === undefined) return;
    try {
      await this.#client.patch(RESOURCES.nodes, { name }, { kind: 'merge', content }, { signal });
    } catch (error) {
      if (isKubeError(error, 'NotFound')) return;
      throw error;
    }
    onOutcome(opinion?.fit === true ? 'set' : 'removed');
    log(
      opinion?.fit === true
        ? `the node ${name} has the label ${label}`
        : `the node ${name} loses the label ${label}: ${opinion?.reason}`,
    );
  }
}

/** The label of a node, and whose it is. */
export function labelledNode({ metadata }: KubeObject, label: string): LabelledNode {
  const { labels, annotations, resourceVersion } = metadata;
  return { value: labels?.[label], isOwn: annotations?.[LABELLED] === 'true', version: resourceVersion };
}

/** Makes the patch that brings a node in order, on its present version alone; undefined where nothing is to be done. */
export function nodePatch(
  { value, isOwn, version }: LabelledNode,
  fit: boolean | undefined,
  label: string,
): object | undefined {
  const change = (labels: object, mark: string | null): object => ({
    metadata: { resourceVersion: version, labels, annotations: { [LABELLED]: mark } },
  });
  // Another value, or a label without the mark, is somebody else's will.
  if (value !== undefined && (value !== 'true' || !isOwn)) return isOwn ? change({}, null) : undefined;
  if (fit === true) return value === undefined ? change({ [label]: 'true' }, 'true') : undefined;
  return fit === false && isOwn ? change({ [label]: null }, null) : undefined;
}

function opinionOf(word: AgentWord, before: Opinion | undefined, hasAgent: boolean): Opinion {
  if (word.kind === 'fit') return { fit: true, misses: 0, reason: '', isSilent: false };
  if (word.kind === 'unfit') return { fit: false, misses: 0, reason: word.reason, isSilent: false };
  const misses = Math.min((before?.misses ?? 0) + 1, MOST_MISSES);
  const reason = word.kind === 'silent' ? word.reason : 'its agent does not look at it';
  const isSilent = hasAgent && word.kind === 'silent';
  return { fit: misses >= MOST_MISSES ? false : before?.fit, misses, reason, isSilent };
}
