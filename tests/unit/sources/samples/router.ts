import type { Request, Response } from './http';

export interface Route {
    readonly path: string;
    handle(request: Request): Promise<Response>;
}

/** Finds the route of a request. */
export abstract class Router<T extends Route> {
    private routes: Map<string, T> = new Map();

    public add(route: T): this {
        this.routes.set(route.path, route);
        return this;
    }

    abstract fallback(request: Request): Promise<Response>;

    protected match(path: string): T | undefined {
        return this.routes.get(path.replace(/\/+$/, ''));
    }
}

export function isSecure(request: Request): boolean {
    return request.protocol === 'https';
}
