/**
 * Decides about pods: what their labels ask for, what the registries and secrets hold, whether the agents are well. A decision takes at
 * most a second; whatever is not known by then stays as it is. Every pod is allowed, whatever fails here.
 */
import { asAccelError } from '../../base/error.ts';
import type { AdmissionMetrics } from '../telemetry/admission-metrics.ts';
import type { AcceleratedImages } from './admission/accelerated-images.ts';
import type { LabelEvents } from './admission/label-events.ts';
import type { PullSecretAnswers } from './admission/pull-secret-answers.ts';
import { answerOf, type PodQuestion, readReview } from './admission/review.ts';
import type { RewriteSettings } from './rewrite/rewrite-settings.ts';
import {
  type AcceleratedAnswer,
  type Answers,
  questionsOf,
  type Reason,
  type RewriteRequest,
  rewritePod,
  type SecretAnswer,
} from './rewrite.ts';

/** The sources that decisions are made from. */
export interface AdmissionParts {
  readonly settings: () => RewriteSettings;
  readonly images: Pick<AcceleratedImages, 'find'>;
  readonly secrets: Pick<PullSecretAnswers, 'find'>;
  /** Labels of a namespace. Never throws: without an answer in time a namespace has none. */
  readonly namespaceLabels: (namespace: string, signal: AbortSignal) => Promise<Readonly<Record<string, string>>>;
  /** Why a mode is off for the pods of a namespace. */
  readonly off: (namespace: string) => { readonly onDemand?: Reason | undefined; readonly p2p?: Reason | undefined };
  readonly events: Pick<LabelEvents, 'complain'>;
  readonly metrics: AdmissionMetrics;
  readonly log: (line: string) => void;
  /** Milliseconds of a decision. */
  readonly deadline: number;
}

/** Most milliseconds of a decision, whatever the configuration says. */
const LONGEST = 1_000;
/** Milliseconds of a decision that are left for everything but waiting. */
const RESERVE = 100;
/** Decisions at a time; more pods stay as they are. */
const MOST_RUNNING = 1_000;

/** Answers the webhook. */
export class Admission {
  readonly #parts: AdmissionParts;
  #running = 0;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** Decisions that go on. */
  get running(): number {
    return this.#running;
  }

  /** Answers a review; undefined for a body that is no AdmissionReview v1. Never throws. */
  async review(body: unknown): Promise<object | undefined> {
    const { metrics, log } = this.#parts;
    const question = readReview(body);
    if (question === undefined || !('pod' in question)) {
      metrics.reviews.inc({ outcome: question === undefined ? 'malformed' : 'other' });
      return question === undefined ? undefined : answerOf(question.uid);
    }
    if (this.#running >= MOST_RUNNING) {
      metrics.reviews.inc({ outcome: 'overloaded' });
      return answerOf(question.uid);
    }
    this.#running += 1;
    const end = metrics.seconds.startTimer();
    try {
      return await this.#decide(question);
    } catch (error) {
      metrics.reviews.inc({ outcome: 'failed' });
      log(`a pod in ${question.namespace} stays as it is: ${asAccelError(error).message}`);
      return answerOf(question.uid);
    } finally {
      this.#running -= 1;
      end();
    }
  }

  async #decide({ uid, namespace, pod, before, dryRun }: PodQuestion): Promise<object> {
    const { metrics, events, deadline } = this.#parts;
    const settings = this.#parts.settings();
    const signal = AbortSignal.timeout(Math.max(1, Math.min(deadline, LONGEST) - RESERVE));
    const isLabelled = pod.metadata.labels?.[settings.modeLabel] !== undefined;
    const request: RewriteRequest = {
      pod,
      namespace,
      namespaceLabels: isLabelled ? {} : await this.#parts.namespaceLabels(namespace, signal),
      ...(before === undefined ? {} : { before }),
    };
    const result = rewritePod(request, await this.#answers(request, settings, signal), settings);
    metrics.reviews.inc({ outcome: result.patch.length > 0 ? 'patched' : 'unchanged' });
    for (const { mode } of result.rewritten) metrics.rewritten.inc({ mode });
    for (const { reasons } of result.kept) for (const reason of reasons) metrics.kept.inc({ reason });
    // A dry run has no side effects.
    if (!dryRun) events.complain(request, result);
    return answerOf(uid, result.patch);
  }

  async #answers(request: RewriteRequest, settings: RewriteSettings, signal: AbortSignal): Promise<Answers> {
    const { images, secrets } = questionsOf(request, settings);
    const { namespace } = request;
    const [accelerated, known] = await Promise.all([
      Promise.all(
        images.map(
          async (image): Promise<[string, AcceleratedAnswer]> => [
            image.text,
            await this.#parts.images.find(image, signal),
          ],
        ),
      ),
      Promise.all(
        secrets.map(
          async (name): Promise<[string, SecretAnswer]> => [
            name,
            await this.#parts.secrets.find(namespace, name, signal),
          ],
        ),
      ),
    ]);
    return { accelerated: new Map(accelerated), secrets: new Map(known), off: this.#parts.off(namespace) };
  }
}
