-- Lists of names that programs may change, asked as sets.

-- Gives a function from such a list to its names as a set. The set is made anew when it is another list, or one of
-- another length.
return function()
  local of, length, set
  return function(list)
    if list ~= of or #list ~= length then
      of, length, set = list, #list, {}
      for _, name in ipairs(list) do set[name] = true end
    end
    return set
  end
end
