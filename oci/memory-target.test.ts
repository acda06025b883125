import { storageContract } from './contract.ts';
import { MemoryTarget } from './memory-target.ts';

storageContract('memory', async () => ({ target: new MemoryTarget() }));
