import Agent
import LinuxDevices
import Services

/// Whether a host would be welcome at the coordinator.
struct CoordinatorChecks: Sendable {
  let coordinator: Coordinator
  /// Nil: only the coordinator itself is looked at.
  let configuration: AgentConfiguration?

  func run() async -> [Check] {
    do {
      let cluster = try await coordinator.ask {
        try await coordinator.inventory.getCluster(GetClusterRequest(), options: .command)
      }
      let reached = Check.ok(
        "coordinator", "\(coordinator.channel.endpoint), cluster \(cluster.id), epoch \(cluster.epoch)")
      return [reached, version(cluster)] + (await clock()) + (await name())
    } catch {
      return [
        .fail(
          "coordinator", "\((error as? RPCError)?.message ?? "\(error)")", cost: "this host cannot join",
          advice: "start it, correct `coordinator` or --coordinator, and look at firewalls between the two")
      ]
    }
  }

  private func version(_ cluster: Cluster) -> Check {
    let name = "protocol"
    guard cluster.coordinatorVersion != iovmeshVersion else {
      return .ok(name, "iov.v1, both of version \(iovmeshVersion)")
    }
    return .warn(
      name, "iov.v1; the coordinator is of version \(cluster.coordinatorVersion), this host of \(iovmeshVersion)",
      cost: "what is new in one of them does not work", advice: "install the same version on both")
  }

  private func clock() async -> [Check] {
    let before = Timestamp.now().secondsSince1970
    guard
      let status = try? await coordinator.askIfKnown({
        try await coordinator.operations.getStatus(GetStatusRequest(), options: .command)
      }), let theirs = status.now?.secondsSince1970
    else {
      return [
        .warn(
          "clock", "the coordinator does not tell its own", cost: "it could not be compared",
          advice: "update the coordinator")
      ]
    }
    return [Self.clock(theirs: theirs, between: before, and: Timestamp.now().secondsSince1970)]
  }

  /// Seconds since 1970: theirs was read at some moment between two of ours.
  static func clock(theirs: Double, between before: Double, and after: Double) -> Check {
    let off = theirs < before ? before - theirs : max(0, theirs - after)
    guard off > 1 else { return .ok("clock", "within a second of the coordinator's") }
    return .warn(
      "clock",
      "\(off < 100 ? "\((off * 10).rounded() / 10)" : "\(Int64(min(off, 1e15)))") s \(theirs < before ? "ahead of" : "behind") the coordinator's",
      cost: "times in logs and answers do not compare; leases do not depend on it",
      advice: "have both follow one time server (chrony, systemd-timesyncd)")
  }

  private func name() async -> [Check] {
    guard let configuration else { return [] }
    guard
      let hosts = try? await coordinator.ask({
        try await coordinator.inventory.listHosts(ListHostsRequest(), options: .command)
      }).hosts
    else { return [] }
    let own = SmallFile.text(configuration.stateDirectory + "/instance-id")
    return [Self.name(configuration.host, own: own, among: hosts)]
  }

  /// `own`: the instance that this host's state directory makes it; nil before its first start.
  static func name(_ name: String, own: String?, among hosts: [Host]) -> Check {
    guard let known = hosts.first(where: { $0.name == name }) else { return .ok("host name", "'\(name)' is free") }
    guard known.instanceId != own else { return .ok("host name", "'\(name)' is this host's already") }
    return .fail(
      "host name", "'\(name)' belongs to another instance, \(known.instanceId), which is \(known.state.word)",
      cost: "the coordinator turns this host away",
      advice: "give this host another name; or restore its state directory; or, if that machine is gone: "
        + "iov host confirm-dead \(name), then iov host forget \(name)")
  }
}
