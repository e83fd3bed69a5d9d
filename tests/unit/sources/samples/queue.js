import { EventEmitter } from 'node:events';

const LIMIT = 100;

/** Jobs in the order of their arrival. */
export class JobQueue extends EventEmitter {
    #jobs = [];

    push(job) {
        if (this.#jobs.length >= LIMIT) throw new RangeError('the queue is full');
        this.#jobs.push(job);
    }

    drain = () => {
        while (this.#jobs.length) this.emit('job', this.#jobs.shift());
    };
}

export const createQueue = options => {
    return Object.assign(new JobQueue(), options);
};

function* batches(jobs, size) {
    for (let i = 0; i < jobs.length; i += size) yield jobs.slice(i, i + size);
}

exports.size = function (queue) { return queue.length; };
