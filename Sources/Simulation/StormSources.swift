import Arbitration
import Messages

/// What a storm's host has for a file server, and what it serves from it.
extension StormHost {
  mutating func admitFileServers() {
    for index in endNodes.indices where endNodes[index].deviceClass == "sata" {
      endNodes[index].capabilities?.consumers.append("file_server")
      for path in endNodes[index].capabilities?.byPath.indices ?? 0..<0 {
        endNodes[index].capabilities?.byPath[path].consumers.append("file_server")
      }
    }
  }

  /// What is attached here for a file server.
  var servedEndNodes: [EndNode] {
    attached.sorted { $0.key < $1.key }.map { servedEndNode(of: $0.assignment) }
  }

  private var attached: [Function] {
    functions.values.filter { $0.isInUse && $0.role != .server && $0.assignment.isForFileServer }
  }

  func isAttached(_ source: String) -> Bool { attached.contains { $0.id == source } }

  mutating func tellServed(since before: [EndNode]) {
    guard let session = welcomedSession, servedEndNodes != before else { return }
    toCoordinator.append(.inventoryReported(session, inventory))
  }

  /// Nothing of a source can be used or cleaned while it is not attached; of one that this host has let go of nothing is left.
  func canReach(_ entry: WantedFunction) -> Bool {
    guard let assignment = entry.assignment, !assignment.source.isEmpty, entry.role != .consumer else { return true }
    return isAttached(assignment.endNode)
      || (entry.released && (entry.fenced || !sources.contains(assignment.endNode)))
  }

  /// Keeps what is served in step with what it is served from.
  mutating func noteSource(_ entry: WantedFunction) {
    let isThere = functions[entry.recordName] != nil
    if entry.role != .consumer, entry.released, !isThere, !entry.fenced { destroyed.insert(entry.functionID) }
    guard entry.role != .server, entry.role != .fencer, entry.assignment?.isForFileServer ?? false else { return }
    if isThere {
      sources.insert(entry.functionID)
    } else if entry.released {
      sources.remove(entry.functionID)
    }
    cutParts(of: entry.functionID)
  }

  mutating func cutParts(of source: String) {
    guard !isAttached(source) else { return }
    for (key, part) in functions where part.role != .consumer && part.assignment.endNode == source {
      functions[key]?.isInUse = false
      if !sources.contains(source) { functions[key] = nil }
      cutParts(of: part.id)
    }
  }
}

extension Assignment {
  var isForFileServer: Bool { if case .fileServer = consumer?.kind { true } else { false } }
}

extension Storm {
  /// Whether what is written to a function of a host's arrives at a device: what it is served from has to arrive as well.
  func reaches(_ function: StormHost.Function, from host: StormHost) -> Bool {
    guard host.isUp, function.isInUse else { return false }
    let assignment = function.assignment
    guard !assignment.source.isEmpty else { return host.canWrite(function, device) }
    guard let source = host.functions.values.first(where: { $0.id == assignment.endNode && $0.role != .server }),
      source.isInUse
    else { return false }
    guard source.role == .consumer else { return reaches(source, from: host) }
    return hosts.values.contains { server in
      server.functions.values.contains {
        $0.id == source.id && $0.role == .server && $0.assignment.token == source.assignment.token
          && reaches($0, from: server)
      }
    }
  }

  /// What others have parts of is not destroyed while they have them.
  mutating func checkSources() {
    for name in hosts.keys.sorted() {
      for function in hosts[name]?.destroyed ?? [] {
        let parts = arbiter.listedClaims.filter { $0.status?.assignment?.endNode == function }
        for part in parts where part.uid == acknowledged[part.name] {
          guard !evicted.contains(part.status?.assignment?.function ?? "") else { continue }
          require(hasForgotten, "\(function), which \(part.name) is a part of, was destroyed")
        }
      }
      hosts[name]?.destroyed = []
    }
  }
}
