/** CertificateSigningRequests of Kubernetes (certificates.k8s.io/v1), as agents make them and the controller answers them. */
import type { KubeObject } from './kube/kube-resources.ts';

/** A condition of a request; one of the type Denied or Failed ends it. */
export interface RequestCondition {
  readonly type: 'Approved' | 'Denied' | 'Failed';
  readonly status: 'True';
  readonly reason?: string;
  readonly message?: string;
}

/** A request, as far as it is read. `username`, `uid` and `extra` are written by the API server. */
export interface SigningRequestObject extends KubeObject {
  readonly spec: {
    /** PKCS #10 in PEM, in base64. */
    readonly request: string;
    readonly signerName: string;
    readonly usages?: readonly string[];
    readonly username?: string;
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  readonly status?: {
    readonly conditions?: readonly RequestCondition[];
    /** PEM in base64: of accel's signers, the certificate and then the authorities to trust. */
    readonly certificate?: string;
  };
}

/** Uses of an agent's key. */
export const USAGES: readonly string[] = ['digital signature', 'client auth', 'server auth'];
