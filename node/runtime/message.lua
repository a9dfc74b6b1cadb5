-- A message as programs see it: tags with names in title case, as fields of the message, as a list and by name.
-- Its own fields come from the host, which gives them in title case.
local ao = require("ao")
local name_set = require(".name-set")
local normalize = require(".utils").normalize

-- How many names are remembered, and how long they may be: strangers choose them.
local MAX_NAMES, MAX_BYTES = 256, 64

local kept_as_tags = name_set()
-- Names that were seen, and how they are read.
local normal_names, count = {}, 0

local function normal_name(name)
  local normal = normalize(name)
  if count < MAX_NAMES and #name <= MAX_BYTES then
    normal_names[name] = normal
    count = count + 1
  end
  return normal
end

-- Of tags with equal names the last counts as field, the first in `Tags`.
return function(msg)
  local list, by_name, kept = msg.Tags, {}, kept_as_tags(ao.nonExtractableTags)
  for place = 1, #list do
    local tag = list[place]
    local name, value = normal_names[tag.name] or normal_name(tag.name), tag.value
    tag.name = name
    if by_name[name] == nil then by_name[name] = value end
    if not kept[name] then msg[name] = value end
  end
  msg.TagArray, msg.Tags = list, by_name
  return msg
end
