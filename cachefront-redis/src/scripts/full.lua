-- A function for scripts whose writes a full server must not refuse: they remove entries, or replace what is there by
-- something of about the same size.

-- Permits the writes that follow on a server that has reached `maxmemory` and evicts nothing. Such a server refuses commands
-- that may need memory, but only as the first write of a script, so that no script ends half-way. PERSIST is a write that
-- needs none; it changes nothing, because the key has no time to live.
local function write_though_full(key)
  redis.call('PERSIST', key)
end
