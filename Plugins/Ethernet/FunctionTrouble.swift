import LinuxDevices
import Services

extension FoundLink {
  /// Of a function in use.
  func health(inNamespaceNamed name: String?) -> Health {
    let place = namespaceID == nil ? "" : " in network namespace \(name.map { "'\($0)'" } ?? "without a name")"
    return Health {
      if !link.isUp {
        $0.state = .unhealthy
        $0.message = "interface \(link.name)\(place) is down: somebody there has set it down"
      } else if !link.hasCarrier {
        $0.state = .unhealthy
        $0.message = "interface \(link.name)\(place) has no carrier: look at its card, the cable and the other end"
      } else {
        $0.state = .healthy
      }
    }
  }
}

extension EthernetFunctions {
  /// What is wrong with functions that this host has set up, by function: their interfaces are gone, or not as they were left.
  ///
  /// A look at interfaces alone: one question for each namespace, however many functions there are.
  func troubles(of known: [FunctionRequest]) throws -> [String: String] {
    let interfaces = Dictionary(grouping: try everyLinkOfFunctions(), by: \.link.alias)
    var troubles: [String: String] = [:]
    for request in known {
      guard let plan = try? plan(request), !plan.isOwn || !plan.consumer.drivesFunction else { continue }
      let names = plan.names
      let found = interfaces[names.alias]?.first {
        $0.link.name != names.tunnel && $0.link.name != names.receiveLimiter
      }
      let health = found?.health(inNamespaceNamed: nil)
      // One that nobody has been given yet is down.
      guard health?.state != .healthy, found?.link.name != names.unused else { continue }
      troubles[names.function] = health?.message ?? "it is gone"
    }
    return troubles
  }

  /// A card's own functions are wherever they were put, with no lower side.
  private func everyLinkOfFunctions() throws -> [FoundLink] {
    var found = try route.links().map { FoundLink(link: $0) }
    let own = try route.namespaceID(of: namespace)
    for identifier in try route.namespaceIDs() where identifier != own {
      // The namespace may end between the two questions.
      guard let links = try? route.links(inNamespaceWithID: identifier) else { continue }
      found += links.filter { $0.pciAddress != nil || $0.lowerLinkNamespaceID != nil }
        .map { FoundLink(link: $0, namespaceID: identifier) }
    }
    return found.filter { FunctionNames.function(inAlias: $0.link.alias) != nil }
  }
}

/// Tells when something happens to functions in use that no verb has done: an interface is set down or deleted, also in its consumer's
/// namespace, or its carrier goes or comes.
struct TroubleWatch {
  let functions: EthernetFunctions
  let known: @Sendable () throws -> [FunctionRequest]
  let thread: BlockingThread
  /// How long it does not look after an error.
  var pause: Duration = .seconds(1)

  /// Until the task is cancelled, also after errors.
  func run(failed: (any Error) -> Void, tell: () -> Void) async {
    var hasFailed = false
    while true {
      do { try await watch(isAnew: hasFailed, tell) } catch { if !Task.isCancelled { failed(error) } }
      hasFailed = true
      guard (try? await Task.sleep(for: pause)) != nil else { return }
    }
  }

  private func watch(isAnew: Bool, _ tell: () -> Void) async throws {
    let watch = try LinkWatch(in: functions.namespace, andWhatItKnows: true)
    // What has changed meanwhile, and what had been told before, nobody knows.
    if isAnew { tell() }
    var told: [String: String] = [:]
    try await look(&told, tell)
    for await _ in watch.changes {
      // A change seldom comes alone.
      try await Task.sleep(for: .milliseconds(200))
      try await look(&told, tell)
    }
  }

  /// What a verb has begun is not as it is to be yet: only what is so twice is worth a word. What changes meanwhile is another change.
  private func look(_ told: inout [String: String], _ tell: () -> Void) async throws {
    let found = try await troubles()
    guard found != told else { return }
    try await Task.sleep(for: .milliseconds(500))
    let again = try await troubles()
    let lasting = found.filter { again[$0.key] == $0.value }
    guard lasting != told else { return }
    told = lasting
    tell()
  }

  private func troubles() async throws -> [String: String] {
    let known = try known()
    guard !known.isEmpty else { return [:] }
    return try await thread.run { [functions] in try functions.troubles(of: known) }
  }
}
