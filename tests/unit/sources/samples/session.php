<?php

namespace App\Http;

use DateTimeImmutable;

/** Who is logged in. */
final class Session implements Countable
{
    private array $values = [];

    public function __construct(private string $id)
    {
        $this->values['started'] = new DateTimeImmutable();
    }

    #[Override]
    public function count(): int
    {
        return count($this->values);
    }
}

function session_of(string $id): Session
{
    return new Session($id);
}
