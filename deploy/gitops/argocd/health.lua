-- Health of an IpamAudit for Argo CD: resource.customizations.health.ipam-audit.dev_IpamAudit in argocd-cm.
-- It is about the audit and not about what it found: an audit that finds a full subnet is a healthy object.
local hs = {}
hs.status = "Progressing"
hs.message = "waiting for the first audit"

if obj.spec ~= nil and obj.spec.suspend == true then
  hs.status = "Suspended"
  hs.message = "spec.suspend is true"
  return hs
end
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.metadata.generation ~= nil and obj.status.observedGeneration ~= obj.metadata.generation then
  hs.message = "waiting for an audit of this spec"
  return hs
end

local by_type = {}
for _, condition in ipairs(obj.status.conditions) do
  by_type[condition.type] = condition
end
local stalled, reconciling, ready = by_type["Stalled"], by_type["Reconciling"], by_type["Ready"]
if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.message
elseif reconciling ~= nil and reconciling.status == "True" then
  hs.message = reconciling.message
elseif ready ~= nil and ready.status == "True" then
  hs.status = "Healthy"
  hs.message = obj.status.summary
elseif ready ~= nil then
  hs.status = "Degraded"
  hs.message = ready.message
end
return hs
