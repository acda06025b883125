/** The MutatingWebhookConfiguration of the cluster: by which names API servers call the webhook, and which authorities they trust. */
import { type KubeObject, RESOURCES } from '../kube/kube-resources.ts';
import type { CallOptions, KubeClient } from '../kube.ts';

/** A MutatingWebhookConfiguration, as far as it is used. */
export interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly clientConfig?: {
      readonly service?: { readonly name: string; readonly namespace: string };
      readonly url?: string;
      readonly caBundle?: string;
    };
  }[];
}

/** The DNS names and addresses by which API servers call a configuration's webhooks. */
export function hostsOf({ webhooks = [] }: WebhookConfiguration): readonly string[] {
  const hosts = webhooks.flatMap(({ clientConfig: { service, url } = {} }) => {
    if (service !== undefined) return [`${service.name}.${service.namespace}.svc`];
    return url !== undefined && URL.canParse(url) ? [new URL(url).hostname.replace(/^\[|\]$/g, '')] : [];
  });
  return [...new Set(hosts)].sort();
}

/** Whether no webhook of a configuration has a bundle: nobody can have called it yet. */
export function hasNoBundle({ webhooks = [] }: WebhookConfiguration): boolean {
  return webhooks.every(({ clientConfig }) => (clientConfig?.caBundle ?? '') === '');
}

/**
 * Gives all webhooks of a configuration a bundle, PEM; false where they have it. Fails with the reason `Conflict` where somebody else
 * has changed the configuration since it was read.
 */
export async function patchBundle(
  client: KubeClient,
  configuration: WebhookConfiguration,
  bundle: string,
  options: CallOptions,
): Promise<boolean> {
  const value = Buffer.from(bundle).toString('base64');
  const { webhooks = [], metadata } = configuration;
  const patch = webhooks.flatMap(({ clientConfig }, index) =>
    clientConfig === undefined || clientConfig.caBundle === value
      ? []
      : [{ op: 'add', path: `/webhooks/${index}/clientConfig/caBundle`, value }],
  );
  if (patch.length === 0) return false;
  const version = { op: 'replace', path: '/metadata/resourceVersion', value: metadata.resourceVersion };
  const content = [version, ...patch];
  await client.patch(RESOURCES.webhookConfigurations, { name: metadata.name }, { kind: 'json', content }, options);
  return true;
}
