import CLinux
import Glibc
import LinuxDevices

/// What the kernel can do, tried in a network namespace of its own that goes when the checks are over.
struct KernelChecks: Sendable {
  /// How bad it is if what a device class needs is lacking.
  let ethernet: Check.Outcome
  let disks: Check.Outcome

  private static let moduleAdvice =
    "load the module, or use a kernel that has it (package linux-modules-extra on some systems)"

  /// Blocks on the kernel; a feature that is a module may be loaded by being tried.
  func run() -> [Check] { networkChecks() + diskProbes.map { $0.check() } }

  // MARK: Network

  private func networkChecks() -> [Check] {
    let name = "network namespaces"
    do {
      let namespace = try Self.throwAwayNamespace()
      let stage = try Stage(namespace)
      return [.ok(name, "one was made, and goes again")] + probes(on: stage).map { $0.check() }
    } catch {
      return [
        .fail(
          name, "\(error)", cost: "no function can be given to a namespace, and nothing else of the network was tried",
          advice: "run as root, on a kernel with CONFIG_NET_NS and CONFIG_VETH")
      ]
    }
  }

  /// Of a thread that has ended: it lives as long as the value.
  private static func throwAwayNamespace() throws -> NetworkNamespace {
    try NetworkNamespace.current().run {
      guard iov_new_network_namespace() == 0 else {
        throw SystemCallError("make a network namespace", errno: errno)
      }
      return try NetworkNamespace.current()
    }
  }

  /// A namespace with a pair of interfaces to try things on.
  private struct Stage: Sendable {
    let netlink: RouteNetlink
    let first: Int32
    let second: Int32

    init(_ namespace: NetworkNamespace) throws {
      netlink = try RouteNetlink(in: namespace)
      try netlink.create(NewLink(.virtualEthernet(peerName: "iov-b", peerNamespace: nil), name: "iov-a"))
      guard let first = try netlink.link(named: "iov-a"), let second = try netlink.link(named: "iov-b") else {
        throw SystemCallError("find the interfaces just made", errno: ENODEV)
      }
      self.first = first.index
      self.second = second.index
    }

    func make(_ kind: NewLink.Kind, named name: String) throws -> String {
      try netlink.create(NewLink(kind, name: name))
      return "works"
    }
  }

  private static let tunnel = VXLANParameters(
    networkIdentifier: 1, local: IPAddress("192.0.2.1"), remote: IPAddress("192.0.2.2"), port: 4789)

  private func probes(on stage: Stage) -> [Probe] {
    [
      network("macvlan", "no Ethernet function of this host's cards") {
        try stage.make(.macvlan(lower: stage.first), named: "iov-c")
      },
      network("vxlan", "no Ethernet function from or to another host") {
        try stage.make(.vxlan(Self.tunnel), named: "iov-d")
      },
      network("ifb", "no limit on what a direct function receives") {
        try stage.make(.intermediateFunctionalBlock, named: "iov-e")
      },
      network("tbf", "no limit on the rates of mediated functions") {
        try stage.netlink.limit(stage.second, to: TokenBucket(rateBitsPerSecond: 1_000_000_000, mtu: 1500))
        return "works"
      },
      network("htb", "no limit on the rates of direct functions") {
        try stage.netlink.addHierarchicalTokenBucket(to: stage.first, handle: TrafficHandle(major: 1, minor: 0))
        try stage.netlink.setClass(
          TrafficHandle(major: 1, minor: 1), of: stage.first,
          to: HierarchicalClass(rateBitsPerSecond: 1_000_000_000, mtu: 1500))
        return "works"
      },
      network("ingress, u32 and mirred", "no Ethernet function from or to another host") {
        try stage.netlink.join(stage.first, stage.second)
        return "work"
      },
      network("nf_tables", "no mediated Ethernet: nothing would keep others out of a tunnel") {
        try PeerAdmission(in: stage.netlink.namespace).admit(Self.tunnel)
        return "works"
      },
    ]
  }

  private func network(_ name: String, _ cost: String, _ attempt: @escaping @Sendable () throws -> String) -> Probe {
    Probe(name: name, lacking: ethernet, cost: cost, advice: Self.moduleAdvice, attempt: attempt)
  }

  // MARK: Disks

  /// Whether it is a client of disks that other hosts serve, TLS included.
  static var carriesDisks: Bool { (try? NetworkBlockDriver.find()) != nil && KernelTLS.isPossible }

  private var diskProbes: [Probe] {
    [
      Probe(
        name: "loop devices", lacking: disks, cost: "no disk function, neither of this host's disks nor of others'",
        advice: "load the module loop; in a container, give it /dev/loop-control and the loop devices",
        attempt: { try LoopTrial().result() }),
      Probe(
        name: "device mapper", lacking: .warn,
        cost: "a part of a disk used on the disk's own host is a loop device: slower with small requests",
        advice: "load the module dm-mod; in a container, give it /dev/mapper/control",
        attempt: {
          guard MappedDevice.isPossible else { throw SystemCallError("open /dev/mapper/control", errno: ENODEV) }
          return "there"
        }),
      Probe(
        name: "fuse", lacking: Self.carriesDisks ? .warn : disks,
        cost: "no disk function from another host" + (Self.carriesDisks ? " once the kernel has no nbd" : ""),
        advice: "load the module fuse; in a container, give it /dev/fuse",
        attempt: {
          _ = try FileDescriptor(opening: "/dev/fuse", O_RDWR)
          return "works"
        }),
      Probe(
        name: "nbd and tls", lacking: .warn,
        cost: "disks of other hosts go through nbdfuse and loop devices: slower, most of all with small requests",
        advice: "load the modules nbd and tls, or use a kernel that has them",
        attempt: {
          guard Self.carriesDisks else { throw SystemCallError("find nbd and the kernel's TLS", errno: ENODEV) }
          return "work: disks of other hosts go through the kernel alone"
        }),
    ]
  }
}

/// A loop device on a file of its own, for a moment.
private struct LoopTrial {
  func result() throws -> String {
    var path = Array("/var/tmp/iov-doctor-\(getpid())-XXXXXX".utf8CString)
    let number = mkstemp(&path)
    guard number >= 0 else { throw SystemCallError("make a file in /var/tmp", errno: errno) }
    let file = FileDescriptor(owning: number)
    let name = path.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    defer { unlink(name) }
    guard ftruncate(file.number, 1 << 20) == 0 else { throw SystemCallError("enlarge \(name)", errno: errno) }
    let loop = try LoopDevice.attach(to: name, offset: 0, size: 0, readOnly: true)
    let isDirect = Self.usesDirectIO(loop.path)
    try loop.detach()
    return isDirect ? "work, with direct I/O" : "work; without direct I/O on the file system of /var/tmp"
  }

  private static func usesDirectIO(_ path: String) -> Bool {
    guard let device = try? FileDescriptor(opening: path, O_RDONLY) else { return false }
    var status = iov_loop_status()
    return iov_read_loop_status(device.number, &status) == 0 && status.direct_io != 0
  }
}
