/** Asks an agent whether accelerated images can run on its node: GET /api/v1/agent, within 3 seconds and 1 MiB. */
import { asAccelError } from '../../../base/error.ts';
import { isRecord } from '../../../base/is-record.ts';
import { Transport } from '../../../http/transport.ts';

/** The word of an agent about its node. `unchecked`: it does not look. `silent`: it could not be asked. */
export type AgentWord =
  | { readonly kind: 'fit' | 'unchecked' }
  | { readonly kind: 'unfit' | 'silent'; readonly reason: string };

/** Milliseconds for an answer. */
const DEADLINE = 3_000;
/** Most bytes of an answer. */
const MAX_ANSWER = 1 << 20;
const MAX_REASON = 200;

/** Asks agents. */
export class AgentQuestions {
  readonly #transport: Transport;

  private constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Opens it; it connects with the first question. Agents are in the cluster: no proxy is on the way to them. */
  static async open(): Promise<AgentQuestions> {
    return new AgentQuestions(await Transport.open({ env: {}, plain: true, minRate: 0 }));
  }

  /** Asks the agent at `HOST:PORT`. Never throws, but for the signal's reason. */
  async ask(address: string, signal: AbortSignal): Promise<AgentWord> {
    try {
      return await this.#ask(address, AbortSignal.any([signal, AbortSignal.timeout(DEADLINE)]));
    } catch (error) {
      signal.throwIfAborted();
      const isLate = error instanceof Error && error.name === 'TimeoutError';
      return silent(isLate ? `no answer within ${DEADLINE / 1000} s` : asAccelError(error).message);
    }
  }

  /** Closes all connections. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  async #ask(address: string, signal: AbortSignal): Promise<AgentWord> {
    const url = new URL(`http://${address}/api/v1/agent`);
    const headers = { accept: 'application/json' };
    // The address is an object's of the cluster, so never a metadata service of a cloud.
    const response = await this.#transport.send({ method: 'GET', url, headers, foreign: true, signal });
    if (response.status !== 200) {
      await response.excerpt(MAX_REASON);
      return silent(`it answered ${response.status}`);
    }
    const report: unknown = JSON.parse(await response.text(MAX_ANSWER));
    if (!isRecord(report) || report.schemaVersion !== 1) return silent('what it answered is no report of an agent');
    const { accelerated } = report;
    if (accelerated === undefined) return { kind: 'unchecked' };
    if (!isRecord(accelerated) || typeof accelerated.fit !== 'boolean') {
      return silent('what it answered about its node is not understood');
    }
    return accelerated.fit ? { kind: 'fit' } : { kind: 'unfit', reason: shortened(String(accelerated.reason)) };
  }
}

function silent(reason: string): AgentWord {
  return { kind: 'silent', reason: shortened(reason) };
}

function shortened(reason: string): string {
  return reason.split('\n', 1)[0]!.slice(0, MAX_REASON);
}
