# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for cgctl(1). Verbs, options and keys come from cgctl itself, so that nothing here goes stale.

_cgctl() {
        local cur=${COMP_WORDS[COMP_CWORD]} verb= i words=
        COMPREPLY=()

        for ((i = 1; i < COMP_CWORD; i++)); do
                if [[ ${COMP_WORDS[i]} != -* && ${COMP_WORDS[i-1]} != -[Hn] && ${COMP_WORDS[i]} != = &&
                      ${COMP_WORDS[i-1]} != = ]]; then
                        verb=${COMP_WORDS[i]}
                        break
                fi
        done
        if [[ $verb == run && $i -lt $((COMP_CWORD)) && $cur != -* ]]; then
                _command_offset $((i + 1)) 2>/dev/null
                return
        fi
        if [[ $cur == -* ]]; then
                words=$(cgctl help ${verb:+"$verb"} 2>/dev/null | sed -n 's/^  .*\(--[a-z-]*\).*/\1/p')
        elif [[ -z $verb ]]; then
                words=$(cgctl help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\).*/\1/p')
        else
                case $verb in
                        explain)
                                words=$(cgctl explain --no-pager 2>/dev/null | sed -n 's/^  \([A-Za-z]*\)=.*/\1/p') ;;
                        cat)
                                words=$(cgctl domains --no-legend 2>/dev/null | awk 'NF == 0 { exit } { print $1 }') ;;
                        set-mode)
                                if ((COMP_CWORD == i + 1)); then
                                        words=$(cgctl domains --no-legend 2>/dev/null | awk 'NF == 0 { exit } { print $1 }')
                                else
                                        words="off monitor contain enforce policy"
                                fi ;;
                        why)
                                words=$(cgctl incidents --no-legend --limit=0 2>/dev/null | awk '{ print $1 }') ;;
                        place|release)
                                words=$(systemctl list-units --full --all --plain --no-legend --type=service 2>/dev/null |
                                        awk '{ print $1 }') ;;
                        tree)
                                words=$(systemctl list-units --full --plain --no-legend --type=slice,service 2>/dev/null |
                                        awk '{ print $1 }') ;;
                        drill)
                                words=$(cgctl drill list 2>/dev/null | awk '{ print $1 }') ;;
                        verify)
                                COMPREPLY=($(compgen -f -- "$cur"))
                                return ;;
                        help)
                                words=$(cgctl help 2>/dev/null | sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\).*/\1/p') ;;
                esac
        fi
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _cgctl cgctl
