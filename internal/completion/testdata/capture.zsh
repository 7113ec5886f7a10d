# Prints the completions of each line as zsh finds them at a prompt: a line of words.
#
#   zsh -f capture.zsh FOLDER LINE...      FOLDER has the functions, such as _iddpm
zmodload zsh/zpty
settings=$(mktemp -d)
trap 'rm -rf $settings' EXIT

# Matches are printed, not inserted. Lines are typed once the prompt is there.
cat > $settings/.zshrc <<END
PROMPT= RPS1=
fpath=(${(q)1} \$fpath)
autoload -Uz compinit && compinit -u -D
bindkey '^I' complete-word
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-[OAD]* ]]; then builtin compadd "\$@"; return; fi
  local -a matches
  builtin compadd -A matches "\$@"
  print -rl -- "<"\${^matches}">"
}
before() { print; compprefuncs=(before) }
after() { print "<end>"; comppostfuncs=(after) }
compprefuncs=(before) comppostfuncs=(after)
ready() { print "<ready>" }
zle -N zle-line-init ready
END
zpty shell "TERM=dumb ZDOTDIR=${(q)settings} zsh -i -d"

shift
while zpty -r shell line; do
  case $line in
    *"<ready>"*) ;;
    *"<end>"*)
      print -r -- $found
      shift
      (( $# )) || exit 0
      zpty -w -n shell $'\C-u' ;;
    *"<"*">"*) found+=(${${line##*"<"}%">"*}); continue ;;
    *) continue ;;
  esac
  found=()
  zpty -w -n shell "$1"$'\t'
done
exit 1
