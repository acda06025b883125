/** The section `cluster` of the configuration: what the roles admission and controller do. */
import { z } from 'zod';
import { address, duration, HOST, path, text } from './fields.ts';

/** Names of labels and annotations, PREFIX/NAME (Kubernetes, "Labels and Selectors", "Syntax and character set"). */
const KEY = /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
/** Names of namespaces and services. */
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Names of most objects. */
const OBJECT = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const SUFFIX = /^[A-Za-z0-9_.-]{1,100}$/;

const key = text(KEY, 'the name of a label or annotation, PREFIX/NAME');
const name = text(NAME, 'a name of lower-case letters, digits and -');

const onDemand = z.strictObject({
  suffixes: z
    .array(text(SUFFIX, 'the end of a tag'))
    .min(1, 'needs at least one suffix')
    .max(10)
    .default(['_containerd_accelerated', '_accelerated'])
    .describe('Ends of the tags of accelerated images, the preferred one first'),
  staleness: duration
    .default('30s')
    .describe(
      'Time for which the present content of a tag counts; an image that moves meanwhile may start from its old content',
    ),
  withoutNode: z
    .enum(['keep', 'rewrite'])
    .default('keep')
    .describe(
      'Images while no node has the label: left alone, or rewritten, where an autoscaler adds such nodes for pods that wait',
    ),
});

const breaker = z.strictObject({
  failures: z
    .int()
    .min(1)
    .max(10_000)
    .default(5)
    .describe('Pods whose rewritten images cannot be pulled within `window`, after which images stay as they are'),
  window: duration.default('2m').describe('Time in which these failures are counted'),
  cooldown: duration.default('5m').describe('Time after which rewriting is tried again'),
});

const p2p = z.strictObject({
  port: z.int().min(1).max(65_535).default(65_001).describe('Port of the agents in the names of images'),
  hostForm: z
    .enum(['keep-vpc', 'drop-vpc'])
    .default('keep-vpc')
    .describe('Whether X-vpc.REST becomes X-vpc.distributed.REST or X.distributed.REST; agents answer both'),
  hosts: z
    .record(text(HOST, 'a registry host, HOST[:PORT]'), text(HOST, 'a host, HOST[:PORT]'))
    .default({})
    .describe('Other names for registries, in place of X.distributed.REST:PORT'),
  withoutSecret: z
    .enum(['rewrite', 'keep'])
    .default('rewrite')
    .describe(
      'Images of pods that name no pull secret for their registry: rewritten, since they may be public, or left alone',
    ),
  agents: z
    .strictObject({
      namespace: name.optional().describe("Namespace of the agents' Service; that of the release unless given"),
      service: name
        .optional()
        .describe('Service whose endpoints are the ready agents; the share is not looked at unless given'),
      nodeSelector: z
        .record(key, z.string())
        .default({})
        .describe('Labels of the nodes that have an agent; all nodes unless given'),
      share: z
        .number()
        .min(0)
        .max(1)
        .default(0.5)
        .describe('Least share of these nodes with a ready agent; below it images stay as they are'),
    })
    .prefault({})
    .describe('Agents that have to be ready'),
});

const lifetime = text(/^[1-9]\d{0,4}[hd]$/, 'a number of hours or days such as 90d');

const certificate = z.strictObject({
  secret: text(OBJECT, 'the name of a Secret')
    .default('accel-webhook')
    .describe('Secret in which the replicas keep authority and certificate'),
  webhook: text(OBJECT, 'the name of an object')
    .default('accel')
    .describe('MutatingWebhookConfiguration that gets the authority; it also says for which names the certificate is'),
  lifetime: lifetime.default('90d').describe('Life of a certificate, which is renewed after two thirds of it'),
  authorityLifetime: lifetime
    .default('1095d')
    .describe('Life of an authority; the next one is made after two thirds of it, and both are trusted until it ends'),
});

/** Names of signers of Kubernetes, DOMAIN/PATH (certificates.k8s.io/v1, spec.signerName). */
const SIGNER = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/[a-z0-9]([a-z0-9.-]{0,315}[a-z0-9])?$/;
/** The name of a signer. */
export const signerName = text(SIGNER, 'the name of a signer, DOMAIN/NAME');

const agentCertificates = z.strictObject({
  signer: signerName
    .optional()
    .describe('Name by which agents ask for certificates (agent.peers.signer.name); nothing is signed unless given'),
  account: name.default('accel-agent').describe("Service account of the agents' pods, in the release's namespace"),
  secret: text(OBJECT, 'the name of a Secret')
    .default('accel-agents-own')
    .describe("Secret in the release's namespace with the authority: `ca.pem` and `ca-key.pem`"),
  renewAuthority: z
    .boolean()
    .default(true)
    .describe('The controller makes the authority and its successors; false: the Secret is yours and is only read'),
  lifetime: duration
    .default('14d')
    .describe(
      'Life of a certificate; agents renew it after two thirds, so the controller may be away for the last third',
    ),
  authorityLifetime: duration
    .default('1095d')
    .describe('Life of an authority; the next one is made after two thirds of it and signs when all agents know it'),
});

/** The section. */
export const cluster = z.strictObject({
  kubeconfig: path.optional().describe("Way to the API; the pod's service account unless given"),
  namespace: name
    .optional()
    .describe("The release's own namespace, whose pods are left alone; that of the service account unless given"),
  excludedNamespaces: z.array(name).default(['kube-system']).describe('Namespaces whose pods are left alone'),
  labels: z
    .strictObject({
      mode: key
        .default('k8s.aliyun.com/image-accelerate-mode')
        .describe('Label of pods and namespaces: on-demand, p2p, on-demand.p2p for both, or off'),
      node: key
        .default('alibabacloud.com/image-accelerate-enabled')
        .describe('Label of nodes that can run accelerated images; its value is true'),
      secret: key
        .default('images.alibabacloud.com/accelerated')
        .describe('Label of secrets that lazily loaded devices read with; its value is true'),
    })
    .prefault({})
    .describe('Names of labels'),
  annotations: z
    .strictObject({
      mode: key
        .default('k8s.aliyun.com/image-accelerate-mode')
        .describe('Annotation of pods whose images go through the agents'),
      p2pConfig: key.default('k8s.aliyun.com/p2p-config').describe('Annotation with port, hosts and version as JSON'),
    })
    .prefault({})
    .describe('Names of annotations'),
  onDemand: onDemand.prefault({}).describe('Mode on-demand: accelerated images'),
  p2p: p2p.prefault({}).describe('Mode p2p: images that go through the agents'),
  breaker: breaker.prefault({}).describe('Ends the rewriting of a mode when its images cannot be pulled'),
  secrets: z
    .strictObject({
      namespaces: z
        .array(name)
        .default([])
        .describe('Namespaces whose secrets the controller reads, and whose pull secrets it copies'),
      clusterWide: z
        .boolean()
        .default(false)
        .describe('Reads secrets in every namespace, and copies those of namespaces whose label has p2p'),
    })
    .prefault({})
    .describe('Where the controller may read and write secrets'),
  controller: z
    .strictObject({
      lease: name.default('accel-controller').describe('Lease by which one of several processes leads'),
      deviceSecret: name
        .default('accel-device-credentials')
        .describe("Secret in the release's namespace with the credentials that lazily loaded devices read with"),
      labelNodes: z
        .boolean()
        .default(true)
        .describe(
          'Labels nodes whose agent finds them fit for accelerated images, where cluster.p2p.agents.service is given; false takes these labels away',
        ),
      askAgentsEvery: duration.default('30s').describe('Time between two questions to each agent, for that label'),
      agentCertificates: agentCertificates.prefault({}).describe('Certificates that the controller signs for agents'),
    })
    .prefault({})
    .describe('The role controller'),
  admission: z
    .strictObject({
      listen: address.default('0.0.0.0:8443').describe('Address of the webhook, HTTPS'),
      certFile: path
        .optional()
        .describe('PEM file of its certificate, read again when it changes; the webhook makes its own unless given'),
      keyFile: path.optional().describe('PEM file of its private key'),
      certificate: certificate.prefault({}).describe('The certificate that it makes itself, without certFile'),
      deadline: duration
        .default('1s')
        .describe('Time for one decision, at most 1s; images without an answer by then stay as they are'),
    })
    .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
      error: 'needs both certFile and keyFile',
    })
    .prefault({})
    .describe('The webhook, role admission'),
});
