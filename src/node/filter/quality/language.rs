//! Which language a text is in, as far as it tells.
//!
//! By the script and, within one, by trigrams. Short texts and lists of names tell nothing: what is not told reliably is no
//! other language.

use whatlang::{Lang, Script, detect};

/// Letters from which a text tells its language.
const LETTERS: usize = 100;
/// As many where a letter is a word or a syllable.
const SYLLABLES: usize = 20;

/// The codes of ISO 639-1, each after that of ISO 639-3.
const CODES: &str = "\
    afr af aka ak amh am ara ar aze az bel be ben bn bul bg cat ca ces cs cmn zh cym cy dan da deu de ell el \
    eng en epo eo est et fin fi fra fr guj gu heb he hin hi hrv hr hun hu hye hy ind id ita it jav jv jpn ja \
    kan kn kat ka khm km kor ko lat la lav lv lit lt mal ml mar mr mkd mk mya my nep ne nld nl nob nb ori or \
    pan pa pes fa pol pl por pt ron ro rus ru sin si slk sk slv sl sna sn spa es srp sr swe sv tam ta tel te \
    tgl tl tha th tuk tk tur tr ukr uk urd ur uzb uz vie vi yid yi zul zu";

/// Returns the language of a code of ISO 639: `en` or `eng`; nothing for one that cannot be told from others.
pub(super) fn language(code: &str) -> Option<Lang> {
    let words: Vec<&str> = CODES.split(' ').collect();
    let pair = words.chunks(2).find(|pair| pair.contains(&code))?;
    Lang::from_code(pair[0])
}

/// Returns the codes of two letters that [`language`] knows.
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    CODES.split(' ').skip(1).step_by(2)
}

/// Returns whether a text tells that it is in another language than these; with none given, no text does.
pub(super) fn is_foreign(text: &str, languages: &[Lang]) -> bool {
    if languages.is_empty() {
        return false;
    }
    let Some(found) = detect(text).filter(|found| found.is_reliable() && !languages.contains(&found.lang())) else {
        return false;
    };
    let least = match found.script() {
        Script::Mandarin | Script::Hiragana | Script::Katakana | Script::Hangul => SYLLABLES,
        _ => LETTERS,
    };
    text.chars().filter(|character| character.is_alphabetic()).count() >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_code_of_two_letters() {
        for known in Lang::all() {
            assert_eq!(language(known.code()), Some(*known));
        }
        assert_eq!(codes().count(), Lang::all().len());
        assert!(codes().all(|code| language(code).is_some()));
        assert_eq!((language("en"), language("xx")), (Some(Lang::Eng), None));
    }

    #[test]
    fn short_texts_and_names_tell_nothing() {
        let english = [Lang::Eng];
        let german = "Der Proxy konnte den Identitätsdienst nicht erreichen und wurde deshalb nie bereit. Starte die \
            Steuerungsebene neu und sieh in die Protokolle.";
        assert!(is_foreign(german, &english));
        assert!(!is_foreign(german, &[Lang::Eng, Lang::Deu]));
        assert!(!is_foreign(german, &[]));
        assert!(!is_foreign("Der Proxy ist nicht bereit.", &english));
        assert!(is_foreign("代理无法访问身份服务，因此一直没有准备好。请重新启动控制平面。", &english));
        assert!(!is_foreign("服务网格", &english));
        assert!(!is_foreign(
            "linkerd-destination linkerd-proxy-injector policy-controller sp-validator web viz jaeger \
            grafana prometheus tap tap-injector metrics-api linkerd-cni multicluster",
            &english
        ));
    }
}
