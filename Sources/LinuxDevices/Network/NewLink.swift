import CLinux

/// An interface to create, in the state that its creation can give it: one message.
public struct NewLink: Sendable {
  public enum Kind: Sendable {
    /// Shares the interface `lower` of the asking namespace; functions of one interface reach each other.
    case macvlan(lower: Int32)
    /// The outer packets go through the asking namespace, wherever the interface itself is.
    case vxlan(VXLANParameters)
    case intermediateFunctionalBlock
    /// A pair; the other end may be created in another namespace.
    case virtualEthernet(peerName: String, peerNamespace: NetworkNamespace?)
    case bridge
  }

  public var kind: Kind
  public var name: String
  public var macAddress: MACAddress?
  public var mtu: UInt32?
  /// In each direction; nil: as the kernel makes it.
  public var queues: UInt32?
  /// Where it is created: in the asking namespace if nil. Creating it there spares the move, which costs several
  /// milliseconds of waiting for readers in the kernel.
  public var namespace: NetworkNamespace?

  public init(
    _ kind: Kind, name: String, macAddress: MACAddress? = nil, mtu: UInt32? = nil, queues: UInt32? = nil,
    namespace: NetworkNamespace? = nil
  ) {
    self.kind = kind
    self.name = name
    self.macAddress = macAddress
    self.mtu = mtu
    self.queues = queues
    self.namespace = namespace
  }

  var request: NetlinkRequest {
    NetlinkRequest(
      RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, operation: "create \(kind.kernelName) interface \(name)"
    ) { payload in
      payload.append(ifinfomsg())
      payload.attribute(Int(IFLA_IFNAME), name)
      if let macAddress { payload.attribute(Int(IFLA_ADDRESS), macAddress.octets) }
      if let mtu { payload.attribute(Int(IFLA_MTU), mtu) }
      if let queues {
        payload.attribute(Int(IFLA_NUM_TX_QUEUES), queues)
        payload.attribute(Int(IFLA_NUM_RX_QUEUES), queues)
      }
      if let namespace { payload.attribute(Int(IFLA_NET_NS_FD), namespace.descriptor) }
      if case .macvlan(let lower) = kind { payload.attribute(Int(IFLA_LINK), lower) }
      payload.nested(Int(IFLA_LINKINFO)) { information in
        information.attribute(Int(IFLA_INFO_KIND), kind.kernelName)
        information.nested(Int(IFLA_INFO_DATA)) { kind.write(to: &$0) }
      }
    }
  }
}

extension NewLink.Kind {
  var kernelName: String {
    switch self {
    case .macvlan: "macvlan"
    case .vxlan: "vxlan"
    case .intermediateFunctionalBlock: "ifb"
    case .virtualEthernet: "veth"
    case .bridge: "bridge"
    }
  }

  func write(to payload: inout NetlinkPayload) {
    switch self {
    case .macvlan:
      payload.attribute(Int(IFLA_MACVLAN_MODE), UInt32(MACVLAN_MODE_BRIDGE.rawValue))
    case .vxlan(let parameters):
      parameters.write(to: &payload)
    case .virtualEthernet(let peerName, let peerNamespace):
      // VETH_INFO_PEER of linux/veth.h.
      payload.nested(1) { peer in
        peer.append(ifinfomsg())
        peer.attribute(Int(IFLA_IFNAME), peerName)
        if let peerNamespace { peer.attribute(Int(IFLA_NET_NS_FD), peerNamespace.descriptor) }
      }
    case .intermediateFunctionalBlock, .bridge: break
    }
  }
}

/// Changes to an interface that one message carries out together. Nil: left as it is.
public struct LinkChange: Sendable {
  public var isUp: Bool?
  public var receivesAllMulticast: Bool?
  public var name: String?
  public var macAddress: MACAddress?
  public var mtu: UInt32?
  public var alias: String?
  /// False: the kernel gives it no IPv6 link-local address and sends nothing from it on its own.
  public var generatesLinkLocalAddress: Bool?
  public var namespace: NetworkNamespace?
  /// The bridge that it becomes a port of.
  public var controller: Int32?
  /// Other addresses for a VXLAN device. Its network and its port cannot be changed.
  public var tunnel: VXLANParameters?

  public init(_ body: (inout LinkChange) -> Void) { body(&self) }

  func request(index: Int32) -> NetlinkRequest {
    var flags: UInt32 = 0
    var mask: UInt32 = 0
    for (bit, wanted) in [(UInt32(0x1), isUp), (0x200, receivesAllMulticast)] {  // IFF_UP, IFF_ALLMULTI
      guard let wanted else { continue }
      mask |= bit
      if wanted { flags |= bit }
    }
    // What is particular to a kind of interface is changed by this one alone, which without a flag makes none.
    let message = tunnel == nil ? RTM_SETLINK : RTM_NEWLINK
    return NetlinkRequest(message, operation: "change interface \(name ?? "number \(index)")") { payload in
      payload.append(ifinfomsg(index: index, flags: flags, change: mask))
      if let namespace { payload.attribute(Int(IFLA_NET_NS_FD), namespace.descriptor) }
      if let name { payload.attribute(Int(IFLA_IFNAME), name) }
      if let macAddress { payload.attribute(Int(IFLA_ADDRESS), macAddress.octets) }
      if let mtu { payload.attribute(Int(IFLA_MTU), mtu) }
      if let alias { payload.attribute(Int(IFLA_IFALIAS), alias) }
      if let controller { payload.attribute(Int(IFLA_MASTER), controller) }
      if let tunnel {
        payload.nested(Int(IFLA_LINKINFO)) { information in
          information.attribute(Int(IFLA_INFO_KIND), NewLink.Kind.vxlan(tunnel).kernelName)
          information.nested(Int(IFLA_INFO_DATA)) { tunnel.writeAddresses(to: &$0) }
        }
      }
      if let generatesLinkLocalAddress {
        payload.nested(Int(IFLA_AF_SPEC)) { families in
          families.nested(10) { inet6 in  // AF_INET6
            // IN6_ADDR_GEN_MODE_EUI64 and _NONE.
            inet6.attribute(Int(IFLA_INET6_ADDR_GEN_MODE), UInt8(generatesLinkLocalAddress ? 0 : 1))
          }
        }
      }
    }
  }
}
