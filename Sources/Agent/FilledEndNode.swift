import Services

extension EndNode {
  /// What a plugin said of an end node, with what only its agent knows: which host this is.
  func filled(host: String, deviceClass: String) -> EndNode {
    var node = self
    node.deviceClass = deviceClass
    if node.roots.isEmpty { node.roots = [Root()] }
    for index in node.roots.indices where node.roots[index].host.isEmpty { node.roots[index].host = host }
    var physicalFunction = node.physicalFunction ?? PhysicalFunction()
    if physicalFunction.controllingHost.isEmpty { physicalFunction.controllingHost = host }
    node.physicalFunction = physicalFunction
    let localName = node.roots.first { $0.host == host }?.localName ?? ""
    node.name = "\(host)/\(localName.isEmpty ? node.id : localName)"
    return node
  }
}
