-- Handlers of the runtime's own. Whatever a program does to them, they are back with the next message.

-- Gives a function that puts the handler into the list, at the end if it is not there, as it was made.
return function(name, pattern, handle)
  -- Where it was last: most lists stay as they are.
  local last = 1
  return function()
    local list = Handlers.list
    local listed = list[last]
    if not listed or listed.name ~= name then
      last, listed = #list + 1, nil
      for place, handler in ipairs(list) do
        if handler.name == name then
          last, listed = place, handler
          break
        end
      end
      if not listed then
        listed = { name = name }
        list[last] = listed
      end
    end
    listed.pattern, listed.handle, listed.maxRuns = pattern, handle, nil
  end
end
