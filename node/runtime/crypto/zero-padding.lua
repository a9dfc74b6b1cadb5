-- Zeros that fill up data of `count` bytes to whole blocks: a stream, with more than are needed.
return function(block_size, count)
  local left = block_size - (count - 1) % block_size + 1
  return function()
    if left == 0 then return nil end
    left = left - 1
    return 0
  end
end
