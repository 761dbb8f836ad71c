import CLinux

/// A network interface as rtnetlink describes it.
public struct Link: Sendable, Hashable {
  public var index: Int32
  public var name: String
  public var kind: String?
  public var flags: UInt32
  public var macAddress: MACAddress?
  /// Burnt into the card; absent on virtual interfaces.
  public var permanentMACAddress: MACAddress?
  /// Bytes of payload. A maximum of zero: the driver gives none.
  public var mtu: UInt32
  public var minimumMTU: UInt32
  public var maximumMTU: UInt32
  public var transmitQueues: UInt32
  public var receiveQueues: UInt32
  public var alias: String?
  public var alternativeNames: [String]
  /// The interface below (macvlan) and the namespace it is in, as an id of the asking namespace; no id: the same one.
  public var lowerLink: Int32?
  public var lowerLinkNamespaceID: Int32?
  public var hasCarrier: Bool
  public var operationalState: OperationalState
  public var statistics: LinkStatistics
  public var vxlan: VXLANParameters?
  /// Where the device is that it belongs to, of a kernel from 5.14 on; nil: on no PCI bus.
  public var pciAddress: PCIAddress?
  /// Of a physical function: how many virtual ones it has. Nil: it cannot have any.
  public var virtualFunctionCount: UInt32?
  /// The hardware's name for the port ("p0", "pf0vf3") and for the switch that the port is on.
  public var portName: String?
  public var switchID: [UInt8]?

  /// ARPHRD_* of linux/if_arp.h.
  public var hardwareType: UInt16

  public var isEthernet: Bool { hardwareType == 1 }
  public var isUp: Bool { flags & 0x1 != 0 }
  public var isLoopback: Bool { flags & 0x8 != 0 }

  /// RFC 2863, as in linux/if.h.
  public enum OperationalState: UInt8, Sendable {
    case unknown, notPresent, down, lowerLayerDown, testing, dormant, up
  }
}

public struct LinkStatistics: Sendable, Hashable {
  public var receivedPackets: UInt64 = 0
  public var transmittedPackets: UInt64 = 0
  public var receivedBytes: UInt64 = 0
  public var transmittedBytes: UInt64 = 0
  /// Errors of every kind on the wire and in the card.
  public var receiveErrors: UInt64 = 0
  public var transmitErrors: UInt64 = 0
  /// Packets without fault for which there was no room or no use.
  public var receiveDrops: UInt64 = 0
  public var transmitDrops: UInt64 = 0
  /// Received; part of `receivedPackets`.
  public var multicastPackets: UInt64 = 0
  /// Lost in the card, as nobody fetched packets fast enough; no part of `receiveDrops`.
  public var receiveMisses: UInt64 = 0

  public init() {}
}

/// What makes a VXLAN tunnel between two hosts.
public struct VXLANParameters: Sendable, Hashable {
  /// 24 bits.
  public var networkIdentifier: UInt32
  public var local: IPAddress?
  public var remote: IPAddress?
  public var port: UInt16

  public init(networkIdentifier: UInt32, local: IPAddress?, remote: IPAddress?, port: UInt16) {
    self.networkIdentifier = networkIdentifier
    self.local = local
    self.remote = remote
    self.port = port
  }
}

extension Link {
  /// Every interface of the namespace that `netlink` talks to, or of the one that it knows by an id.
  public static func all(
    through netlink: any NetlinkTransport, inNamespaceWithID id: Int32? = nil
  ) throws(NetlinkError) -> [Link] {
    let request = NetlinkRequest(RTM_GETLINK, operation: "list interfaces") {
      $0.append(ifinfomsg())
      if let id { $0.attribute(Int(IFLA_TARGET_NETNSID), id) }
    }
    return try netlink.dump(request).compactMap(Link.init)
  }

  /// Reads an RTM_NEWLINK; nil for anything else.
  init?(_ reply: NetlinkReply) {
    let headerSize = MemoryLayout<ifinfomsg>.size
    guard reply.type == UInt16(RTM_NEWLINK), reply.payload.count >= headerSize,
      let index = reply.payload.integer(at: 4, as: Int32.self),
      let flags = reply.payload.integer(at: 8, as: UInt32.self)
    else { return nil }
    let attributes = NetlinkAttributes(reply.payload.dropFirst(headerSize))
    guard let name = attributes.string(Int(IFLA_IFNAME)) else { return nil }
    self.index = index
    hardwareType = reply.payload.integer(at: 2) ?? 0
    self.flags = flags
    self.name = name
    let information = attributes.nested(Int(IFLA_LINKINFO))
    kind = information?.string(Int(IFLA_INFO_KIND))
    macAddress = attributes[Int(IFLA_ADDRESS)].flatMap { MACAddress(octets: $0) }
    permanentMACAddress = attributes[Int(IFLA_PERM_ADDRESS)].flatMap { MACAddress(octets: $0) }
    mtu = attributes.integer(Int(IFLA_MTU)) ?? 0
    minimumMTU = attributes.integer(Int(IFLA_MIN_MTU)) ?? 0
    maximumMTU = attributes.integer(Int(IFLA_MAX_MTU)) ?? 0
    transmitQueues = attributes.integer(Int(IFLA_NUM_TX_QUEUES)) ?? 0
    receiveQueues = attributes.integer(Int(IFLA_NUM_RX_QUEUES)) ?? 0
    alias = attributes.string(Int(IFLA_IFALIAS))
    let names = attributes.nested(Int(IFLA_PROP_LIST))?.inOrder ?? []
    alternativeNames = names.filter { $0.type == Int(IFLA_ALT_IFNAME) }
      .map { String(decoding: $0.value.prefix { $0 != 0 }, as: UTF8.self) }
    lowerLink = attributes.integer(Int(IFLA_LINK))
    lowerLinkNamespaceID = attributes.integer(Int(IFLA_LINK_NETNSID))
    hasCarrier = (attributes.integer(Int(IFLA_CARRIER), as: UInt8.self) ?? 0) != 0
    operationalState =
      attributes.integer(Int(IFLA_OPERSTATE), as: UInt8.self).flatMap(OperationalState.init(rawValue:)) ?? .unknown
    statistics = LinkStatistics(attributes[Int(IFLA_STATS64)])
    vxlan = kind == "vxlan" ? information?.nested(Int(IFLA_INFO_DATA)).flatMap(VXLANParameters.init) : nil
    pciAddress =
      attributes.string(Int(IFLA_PARENT_DEV_BUS_NAME)) == "pci"
      ? attributes.string(Int(IFLA_PARENT_DEV_NAME)).flatMap { PCIAddress($0) } : nil
    virtualFunctionCount = attributes.integer(Int(IFLA_NUM_VF))
    portName = attributes.string(Int(IFLA_PHYS_PORT_NAME))
    switchID = attributes[Int(IFLA_PHYS_SWITCH_ID)].map(Array.init)
  }
}

extension LinkStatistics {
  /// Fields of `struct rtnl_link_stats64`, by their place in it.
  init(_ bytes: ArraySlice<UInt8>?) {
    func field(_ index: Int) -> UInt64 { bytes?.integer(at: index * 8) ?? 0 }
    receivedPackets = field(0)
    transmittedPackets = field(1)
    receivedBytes = field(2)
    transmittedBytes = field(3)
    receiveErrors = field(4)
    transmitErrors = field(5)
    receiveDrops = field(6)
    transmitDrops = field(7)
    multicastPackets = field(8)
    receiveMisses = field(15)
  }
}

extension VXLANParameters {
  init?(_ attributes: NetlinkAttributes) {
    guard let identifier = attributes.integer(Int(IFLA_VXLAN_ID), as: UInt32.self) else { return nil }
    networkIdentifier = identifier
    port = attributes.bigEndian(Int(IFLA_VXLAN_PORT)) ?? 0
    func address(_ types: Int...) -> IPAddress? {
      types.compactMap { attributes[$0] }.first.flatMap { IPAddress(octets: $0) }
    }
    local = address(Int(IFLA_VXLAN_LOCAL), Int(IFLA_VXLAN_LOCAL6))
    remote = address(Int(IFLA_VXLAN_GROUP), Int(IFLA_VXLAN_GROUP6))
  }

  func write(to payload: inout NetlinkPayload) {
    writeAddresses(to: &payload)
    payload.attribute(Int(IFLA_VXLAN_PORT), bigEndian: port)
    // Each tunnel has one peer: there is nothing to learn, and learning would let the other side poison the table.
    payload.attribute(Int(IFLA_VXLAN_LEARNING), UInt8(0))
  }

  /// What the kernel changes of a tunnel that is there: its addresses. The network's number has to be said, and stays.
  func writeAddresses(to payload: inout NetlinkPayload) {
    payload.attribute(Int(IFLA_VXLAN_ID), networkIdentifier)
    if let local { payload.attribute(Int(local.isIPv4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6), local.octets) }
    if let remote { payload.attribute(Int(remote.isIPv4 ? IFLA_VXLAN_GROUP : IFLA_VXLAN_GROUP6), remote.octets) }
  }
}
