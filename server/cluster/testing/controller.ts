/** The controller for tests: started in this process, with the permissions that the chart gives it and no more. */
import { CONFIG_SCHEMA } from '../../config/schema.ts';
import { startController } from '../controller/start-controller.ts';
import type { TestCluster } from './kube-cluster.ts';
import { roleSurroundings } from './role-surroundings.ts';
import { RELEASE } from './webhook.ts';

/** Name of the user that the controller is at the API. */
export const CONTROLLER_USER = 'controller';

/** Name of the signer of agents' certificates. */
export const SIGNER = 'accel.dev/accel-accel';

/** A running controller. */
export interface TestController {
  readonly isLeader: boolean;
  readonly log: readonly string[];
  /** A figure of the metrics; 0 where it does not exist. */
  figure(name: string): Promise<number>;
  stop(): Promise<void>;
}

/** Permissions of the controller, as charts/accel/templates/_rules.tpl has them. */
export function controllerRules(namespaces: readonly string[] | 'all'): object[] {
  const rbac = 'rbac.authorization.k8s.io';
  const role = (name: string, rules: object[]) => ({
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRole',
    metadata: { name },
    rules,
  });
  const bind = (to: string, namespace?: string) => ({
    apiVersion: `${rbac}/v1`,
    kind: namespace === undefined ? 'ClusterRoleBinding' : 'RoleBinding',
    metadata: { name: to, ...(namespace === undefined ? {} : { namespace }) },
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: to },
    subjects: [{ kind: 'User', name: CONTROLLER_USER, apiGroup: rbac }],
  });
  const signing = [
    { resources: ['certificatesigningrequests'], verbs: ['list', 'watch'] },
    { resources: ['certificatesigningrequests/approval', 'certificatesigningrequests/status'], verbs: ['update'] },
    { resources: ['signers'], resourceNames: [SIGNER], verbs: ['approve', 'sign'] },
  ];
  const secretVerbs = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];
  return [
    role('accel-controller', [
      { apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'patch', 'watch'] },
      { apiGroups: [''], resources: ['events'], verbs: ['create'] },
      ...signing.map((rule) => ({ apiGroups: ['certificates.k8s.io'], ...rule })),
    ]),
    role('accel-controller-own', [
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create', 'get', 'update'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      {
        apiGroups: [''],
        resources: ['secrets'],
        resourceNames: ['accel-device-credentials', 'accel-agents-own'],
        verbs: ['get', 'update'],
      },
      { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
    ]),
    role('accel-controller-secrets', [{ apiGroups: [''], resources: ['secrets'], verbs: secretVerbs }]),
    bind('accel-controller'),
    bind('accel-controller-own', RELEASE),
    ...(namespaces === 'all'
      ? [bind('accel-controller-secrets')]
      : namespaces.map((namespace) => bind('accel-controller-secrets', namespace))),
  ];
}

/** Starts the controller with a configuration; resolves before it leads. */
export async function startTestController(
  cluster: TestCluster,
  config: { readonly cluster?: object; readonly registries?: object[] },
): Promise<TestController> {
  const whole = CONFIG_SCHEMA.parse({
    ...config,
    cluster: { kubeconfig: cluster.kubeconfig(CONTROLLER_USER), namespace: RELEASE, ...config.cluster },
  });
  const { context, log, figure, stop } = roleSurroundings('controller', whole);
  const running = await startController(context);
  return {
    get isLeader() {
      return running.isLeader;
    },
    log,
    figure,
    stop,
  };
}
