-- Takes in each entry whose version is above the one that is there, all of them at once, and answers which were new.
-- KEYS: one a ticket type. ARGV: milliseconds to keep them, then a version and a text for each key.
local was_new = {}
for i, key in ipairs(KEYS) do
  local version, stock = tonumber(ARGV[2 * i]), ARGV[2 * i + 1]
  local known = tonumber(redis.call('HGET', key, 'version') or -1)
  was_new[i] = 0
  if known < version then
    redis.call('HSET', key, 'version', ARGV[2 * i], 'stock', stock)
    was_new[i] = 1
  end
  if known <= version then
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return was_new
