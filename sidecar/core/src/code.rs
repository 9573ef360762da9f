//! The status codes of PTP/1.0, section 13.1: `E`, seven zeros, and three digits.

use std::fmt;

/// A status code. Clients compare it as text and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $wire:literal, $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The code as it goes over the wire, without an allocation for every code that this node raises itself.
            #[must_use]
            pub fn as_str(self) -> std::borrow::Cow<'static, str> {
                match self.0 {
                    $($number => $wire.into(),)*
                    other => format!("E{other:010}").into(),
                }
            }

            /// The short text that goes with the code when nothing more is to be said.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "未知错误",
                }
            }
        }
    };
}

codes! {
    /// Success.
    SUCCESS = 0, "E0000000000", "请求成功";
    /// Something of the request is missing or malformed.
    BAD_REQUEST = 400, "E0000000400", "请求参数错误";
    /// The caller is not who it must be.
    UNAUTHORISED = 403, "E0000000403", "未授权";
    /// No such path, uri or method.
    NOT_FOUND = 404, "E0000000404", "资源不存在";
    /// The body is larger than the limit.
    TOO_LARGE = 413, "E0000000413", "报文过大";
    /// Anything unclassified.
    INTERNAL = 500, "E0000000500", "系统异常";
    /// The call goes round in circles.
    LOOP = 503, "E0000000503", "请求循环";
    /// A peer answered without a readable code.
    UNKNOWN = 520, "E0000000520", "未知错误";
    /// An inner body cannot be decoded.
    SERIALISATION = 600, "E0000000600", "序列化错误";
    /// A peer did not answer in time.
    TIMEOUT = 601, "E0000000601", "请求超时";
    /// A service is registered, and none is ready.
    NO_INSTANCE = 602, "E0000000602", "无可用服务实例";
    /// A pair, chain, name or validity does not hold.
    CERTIFICATE = 603, "E0000000603", "证书错误";
    /// A token is past its time.
    TOKEN_EXPIRED = 604, "E0000000604", "令牌过期";
    /// The route has expired.
    ROUTE_EXPIRED = 605, "E0000000605", "组网已过期";
    /// The route is disabled or removed.
    ROUTE_DISABLED = 606, "E0000000606", "对方节点已禁用网络";
    /// No address of the route accepts a connection.
    UNREACHABLE = 607, "E0000000607", "节点不可达";
    /// The session was released.
    SESSION_RELEASED = 608, "E0000000608", "会话已释放";
    /// The caller may not do that.
    NOT_PERMITTED = 614, "E0000000614", "操作未许可";
    /// A signature does not verify.
    SIGNATURE = 615, "E0000000615", "签名错误";
    /// A compressed or encrypted body cannot be opened.
    CODEC = 616, "E0000000616", "编解码错误";
    /// The node was reached, the service is unknown there.
    NO_SERVICE = 617, "E0000000617", "下游服务不存在";
    /// The target is neither this node nor a known route.
    NOT_WOVEN = 618, "E0000000618", "未组网";
    /// An address cannot be parsed.
    BAD_ADDRESS = 619, "E0000000619", "地址错误";
    /// No room within the timeout.
    BUFFER_FULL = 700, "E0000000700", "缓冲区已满";
}

impl Code {
    /// Reads a code as peers send it: `E` and ten digits. FATE's bare `0` (PTP section 5.2) counts as success.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::SUCCESS);
        }
        let digits = text.strip_prefix('E').filter(|d| d.len() == 10 && d.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok().map(Self)
    }

    /// The number behind the zeros.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether it says success.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::SUCCESS
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_and_read_in_one_form() {
        for code in [Code::SUCCESS, Code::TOO_LARGE, Code::BUFFER_FULL, Code(609)] {
            assert_eq!(Code::parse(&code.to_string()), Some(code));
            assert_eq!(code.to_string().len(), 11);
        }
        assert_eq!(Code::SUCCESS.to_string(), "E0000000000");
    }

    #[test]
    fn what_is_no_code_is_not_read_as_one() {
        for text in ["", "E", "E00000000000", "e0000000000", "E000000000x", "E9999999999", "136"] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
    }
}
