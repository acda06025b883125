/** The hook of each kind. */
import { readAcr } from './acr.ts';
import { readAcrAzure } from './acr-azure.ts';
import { readArtifactory } from './artifactory.ts';
import { readCloudevents } from './cloudevents.ts';
import { readDistribution } from './distribution.ts';
import { readDockerhub } from './dockerhub.ts';
import { readEcr } from './ecr.ts';
import { readGar } from './gar.ts';
import { readGithub } from './github.ts';
import { readHarbor } from './harbor.ts';
import type { Hook, HookKind } from './hook.ts';
import { readQuay } from './quay.ts';
import { readZot } from './zot.ts';

/** All hooks by kind. */
export const HOOKS: Readonly<Record<HookKind, Hook>> = {
  distribution: readDistribution,
  harbor: readHarbor,
  github: readGithub,
  acr: readAcr,
  'acr-azure': readAcrAzure,
  dockerhub: readDockerhub,
  quay: readQuay,
  artifactory: readArtifactory,
  ecr: readEcr,
  gar: readGar,
  zot: readZot,
  cloudevents: readCloudevents,
};
