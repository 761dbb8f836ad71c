import FunctionPluginKit
import LinuxDevices
import Services

/// An interface of ours and where it is.
struct FoundLink: Sendable {
  var link: Link
  /// As this host's namespace knows it; nil: the host's own.
  var namespaceID: Int32?
}

/// A namespace that a function is for, opened for one verb: a socket in it would keep a dead tenant's namespace alive.
struct Place {
  /// Nil: the host's own.
  var namespace: NetworkNamespace?
  var namespaceID: Int32?
  var route: RouteNetlink
}

extension EthernetFunctions {
  /// Where the consumer is. A namespace that is missing is an error.
  func consumerPlace(_ plan: FunctionPlan) throws -> Place {
    guard let name = plan.consumerNamespace else { return Place(route: route) }
    let consumer = try NetworkNamespace.named(name)
    guard consumer.inode != namespace.inode else { return Place(route: route) }
    // What is put there is found by this id even after the namespace has lost its name.
    try route.know(consumer)
    return try Place(
      namespace: consumer, namespaceID: route.namespaceID(of: consumer), route: RouteNetlink(in: consumer))
  }

  /// The function's interface in a place, by the names that it can have there.
  func find(_ plan: FunctionPlan, in place: Place) throws -> Link? {
    for name in [plan.interfaceName, plan.names.unused, plan.names.interface] {
      if let link = try place.route.link(named: name), isOurs(link, plan.names) { return link }
    }
    return nil
  }

  /// By the owner in the alias; or by a name that is only ours, when a plugin was killed before it wrote the alias.
  func isOurs(_ link: Link, _ names: FunctionNames) -> Bool {
    if let alias = link.alias, !alias.isEmpty { return alias == names.alias }
    return [names.interface, names.unused, names.tunnel, names.receiveLimiter].contains(link.name)
  }

  /// Every interface of a function: here, and in each namespace that this host has ever put something into, with or
  /// without a name. A namespace that is gone has taken its interfaces with it.
  func findEverywhere(_ names: FunctionNames) throws -> [FoundLink] {
    try everyLink().filter { isOurs($0.link, names) }
  }

  /// Every interface that could be ours. In other namespaces only those whose lower side is in this one: a function of
  /// another host of an emulated rack has the same alias.
  func everyLink() throws -> [FoundLink] {
    var found = try route.links().map { FoundLink(link: $0) }
    let identifiers = try route.namespaceIDs()
    let own = try route.namespaceID(of: namespace)
    for identifier in identifiers where identifier != own {
      // The namespace may end between the two questions.
      guard let links = try? route.links(inNamespaceWithID: identifier) else { continue }
      let here = try own ?? route.namespaceID(of: namespace)
      found += links.filter { $0.lowerLinkNamespaceID != nil && $0.lowerLinkNamespaceID == here }
        .map { FoundLink(link: $0, namespaceID: identifier) }
    }
    return found
  }

  /// The name in /run/netns of each namespace that this host knows.
  func namespaceNames() -> [Int32: String] {
    var names: [Int32: String] = [:]
    for name in NetworkNamespace.present() {
      guard let namespace = try? NetworkNamespace.named(name),
        let identifier = try? route.namespaceID(of: namespace)
      else { continue }
      if names[identifier] == nil { names[identifier] = name }
    }
    return names
  }
}
