import CLinux
import LinuxDevices

func interfaceHeader(_ index: Int32, isUp: Bool = true) -> ifinfomsg {
  ifinfomsg(
    ifi_family: 0, __ifi_pad: 0, ifi_type: 1, ifi_index: index, ifi_flags: isUp ? 0x1003 : 0x1002, ifi_change: 0)
}

/// The interfaces of a kernel, as a dump of rtnetlink: made once, told as often as asked.
public struct FakeLinks: NetlinkTransport {
  public var replies: [NetlinkReply]

  public init(_ replies: [NetlinkReply] = []) { self.replies = replies }

  public func request(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] { replies }
  public func dump(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] { replies }

  /// What somebody sets on an interface, and what comes by its cable.
  public struct Settings: Sendable, Hashable {
    public var isUp = true
    public var hasCarrier = true
    public var mtu: UInt32 = 1500
    public var alias: String?

    public init() {}
  }

  /// An interface with what a kernel of today says of one, as far as it is read.
  ///
  /// - Parameter functions: how many virtual functions it has, whose settings are told as well; nil: it cannot have any.
  public static func link(
    _ name: String, index: Int32, at address: PCIAddress, permanent: MACAddress? = nil, portName: String? = nil,
    functions: UInt32? = nil
  ) -> NetlinkReply {
    link(name, index: index, at: address, Settings(), permanent: permanent, portName: portName, count: functions) {
      payload in
      if let functions { list(functions, &payload) }
    }
  }

  static func link(
    _ name: String, index: Int32, at address: PCIAddress, _ settings: Settings, permanent: MACAddress? = nil,
    portName: String? = nil, count: UInt32?, functions: (inout NetlinkPayload) -> Void
  ) -> NetlinkReply {
    let octets: [UInt8] = permanent?.octets ?? [2, 0] + withUnsafeBytes(of: index.bigEndian) { Array($0) }
    var payload = NetlinkPayload()
    payload.append(interfaceHeader(index, isUp: settings.isUp))
    payload.attribute(Int(IFLA_IFNAME), name)
    if let alias = settings.alias { payload.attribute(Int(IFLA_IFALIAS), alias) }
    payload.attribute(Int(IFLA_TXQLEN), UInt32(1000))
    payload.attribute(Int(IFLA_OPERSTATE), UInt8(6))
    for (type, value) in [
      (IFLA_MTU, settings.mtu), (IFLA_MIN_MTU, 68), (IFLA_MAX_MTU, 9216), (IFLA_GROUP, 0), (IFLA_PROMISCUITY, 0),
    ] {
      payload.attribute(Int(type), UInt32(value))
    }
    for type in [IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_GSO_MAX_SEGS, IFLA_GSO_MAX_SIZE, IFLA_GRO_MAX_SIZE] {
      payload.attribute(Int(type), UInt32(8))
    }
    payload.attribute(Int(IFLA_CARRIER), UInt8(settings.hasCarrier ? 1 : 0))
    payload.attribute(Int(IFLA_QDISC), "mq")
    payload.attribute(Int(IFLA_ADDRESS), octets)
    payload.attribute(Int(IFLA_BROADCAST), [UInt8](repeating: 255, count: 6))
    payload.attribute(Int(IFLA_STATS64), [UInt8](repeating: 1, count: 200))
    payload.attribute(Int(IFLA_STATS), [UInt8](repeating: 1, count: 96))
    payload.attribute(Int(IFLA_NUM_VF), count ?? 0)
    functions(&payload)
    if let permanent { payload.attribute(Int(IFLA_PERM_ADDRESS), permanent.octets) }
    if let portName { payload.attribute(Int(IFLA_PHYS_PORT_NAME), portName) }
    payload.attribute(Int(IFLA_PARENT_DEV_NAME), address.description)
    payload.attribute(Int(IFLA_PARENT_DEV_BUS_NAME), "pci")
    return NetlinkReply(type: UInt16(RTM_NEWLINK), payload: payload.bytes[...])
  }

  private static func list(_ functions: UInt32, _ payload: inout NetlinkPayload) {
    // What the fake card says of as many functions is what any card says.
    let request = NetlinkRequest(RTM_GETLINK, operation: "list") {
      $0.append(interfaceHeader(0))
      $0.attribute(Int(IFLA_EXT_MASK), UInt32(RTEXT_FILTER_VF) | UInt32(RTEXT_FILTER_SKIP_STATS))
    }
    guard let reply = try? FakeCard(count: functions).request(request).first,
      let list = NetlinkAttributes(reply.payload.dropFirst(16))[Int(IFLA_VFINFO_LIST)]
    else { return }
    payload.attribute(Int(IFLA_VFINFO_LIST) | 0x8000, list)
  }
}

/// A host full of cards, for measuring how long it takes to find them.
public struct CrowdedHost: Sendable {
  public let kernel: FakeKernel
  public let links: FakeLinks

  /// Cards on the buses from 1 on, three for each: 256 functions reach into the next two.
  public init(cards: UInt32, functions: UInt32) throws {
    kernel = try FakeKernel()
    var links: [NetlinkReply] = []
    for card in 0..<cards {
      let address = PCIAddress(bus: UInt8(1 + 3 * card), device: 0, function: 0)
      let port = PCIAddress(domain: 0, bus: 0, device: UInt8(card / 8 + 1), function: UInt8(card % 8))
      kernel.addCard(FakeKernel.Card(address: address, total: functions, port: port))
      try kernel.sysfs.write(functions, to: "\(address.sysfsPath)/sriov_numvfs")
      let index = Int32(links.count + 2)
      links.append(
        FakeLinks.link(
          "ens\(card)", index: index, at: address,
          permanent: MACAddress(octets: [0x52, 0x54, 0, 0xaa, UInt8(card >> 8), UInt8(card & 255)]), portName: "p0",
          functions: functions))
      for function in kernel.sysfs.sriovCapability(of: address)?.functions ?? [] {
        links.append(
          FakeLinks.link("ens\(card)v\(function.index)", index: Int32(links.count + 2), at: function.address))
      }
    }
    self.links = FakeLinks(links)
  }

  public func discover() throws(NetlinkError) -> [EthernetCard] {
    try EthernetDiscovery(Sysfs(root: kernel.root), links).look().cards
  }
}
