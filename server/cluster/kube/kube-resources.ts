/** The resources of the API of Kubernetes that accel reads and writes, and the paths of their objects. */

/** A resource, as paths name it. */
export interface Resource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

const core = (plural: string, namespaced = true): Resource => ({ group: '', version: 'v1', plural, namespaced });

/** The resources by name. */
export const RESOURCES = {
  pods: core('pods'),
  secrets: core('secrets'),
  namespaces: core('namespaces', false),
  nodes: core('nodes', false),
  serviceAccounts: core('serviceaccounts'),
  events: core('events'),
  leases: { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', namespaced: true },
  endpointSlices: { group: 'discovery.k8s.io', version: 'v1', plural: 'endpointslices', namespaced: true },
  signingRequests: {
    group: 'certificates.k8s.io',
    version: 'v1',
    plural: 'certificatesigningrequests',
    namespaced: false,
  },
  webhookConfigurations: {
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    plural: 'mutatingwebhookconfigurations',
    namespaced: false,
  },
} as const satisfies Readonly<Record<string, Resource>>;

/** Metadata of an object, as far as it is used. */
export interface ObjectMeta {
  readonly name: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

/** An owner of an object. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

/** An object of the API; the rest of its fields is the caller's to know. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

/** Selects objects of a resource. */
export interface Selection {
  /** All namespaces unless given. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

/** The path of a resource's collection, or of one object in it. */
export function pathOf(resource: Resource, namespace?: string, name?: string): string {
  const { group, version, plural, namespaced } = resource;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const scope = namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}${scope}/${plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
}
