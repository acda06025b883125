/** Whether a pod can be bound to nodes that run accelerated images: a selector is added, unless something of the pod forbids it. */
import type { NodeRequirement, NodeTerm, Pod } from './pod.ts';

/** Why a pod cannot be bound to such nodes. */
export type NodeConflict = 'daemonset' | 'names-a-node' | 'selector-conflict' | 'affinity-conflict' | 'not-linux';

/** Finds the reason, or undefined for a pod that can. `label` has the value `true` on these nodes. */
export function nodeConflict({ metadata, spec }: Pod, label: string): NodeConflict | undefined {
  if (metadata.ownerReferences?.some(({ kind, controller }) => kind === 'DaemonSet' && controller === true) === true) {
    return 'daemonset';
  }
  if (spec.os?.name !== undefined && spec.os.name !== 'linux') return 'not-linux';
  if (spec.nodeName !== undefined && spec.nodeName !== '') return 'names-a-node';
  const selected = spec.nodeSelector?.[label];
  if (selected !== undefined && selected !== 'true') return 'selector-conflict';
  const { nodeSelectorTerms: terms = [] } =
    spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? {};
  if (terms.length === 0) return undefined;
  if (terms.every((term) => term.matchFields?.some(namesNode) === true)) return 'names-a-node';
  return terms.every((term) => excludes(term, label)) ? 'affinity-conflict' : undefined;
}

/** The only field that nodes are selected by is their name. */
function namesNode({ key, operator }: NodeRequirement): boolean {
  return key === 'metadata.name' && operator === 'In';
}

function excludes({ matchExpressions = [], matchFields = [] }: NodeTerm, label: string): boolean {
  return (
    matchFields.some(namesNode) ||
    matchExpressions.some((requirement) => requirement.key === label && !admits(requirement))
  );
}

/** Whether a requirement holds for the value `true`. Gt and Lt compare numbers. */
function admits({ operator, values = [] }: NodeRequirement): boolean {
  switch (operator) {
    case 'In':
      return values.includes('true');
    case 'NotIn':
      return !values.includes('true');
    case 'Exists':
      return true;
    default:
      return false;
  }
}
